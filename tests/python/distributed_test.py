"""Two gloo ranks: the same λ and zeros under DistributedDataParallel, and weights that are divided."""

import pickle
import tempfile
import unittest

import support
import torch
import torch.distributed as dist
import torch.multiprocessing as processes
from support import generator, mlp
from torch import nn

from cuthresh.torch import ProxSGD, SparsityController
from cuthresh.torch._sharded import keep_largest_

RANKS = 2


def start(rank, work, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=RANKS)
    result = work(rank)
    with open(f"{folder}/{rank}", "wb") as file:
        pickle.dump(result, file)
    dist.barrier()
    dist.destroy_process_group()


def on_two_ranks(work):
    """[work(0), work(1)], each in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        processes.spawn(start, (work, folder), nprocs=RANKS)
        results = []
        for rank in range(RANKS):
            with open(f"{folder}/{rank}", "rb") as file:
                results.append(pickle.load(file))
        return results


def data_parallel(rank):
    from torch.nn.parallel import DistributedDataParallel
    outcomes = []
    for fused in (True, False):
        model = mlp(8, 24, 3, seed=rank)  # DistributedDataParallel sends rank 0's to all
        parallel = DistributedDataParallel(model)
        optimizer = (ProxSGD(parallel, lr=0.1, momentum=0.9, penalise="[02].weight") if fused
                     else torch.optim.AdamW(parallel.parameters(), lr=0.01))
        controller = SparsityController(optimizer, target=0.9, steps=60, per_layer=fused)
        random = generator(100 + rank)  # every rank has data of its own
        lambdas = []
        for _ in range(60):
            x = torch.randn(16, 8, generator=random)
            optimizer.zero_grad()
            nn.functional.cross_entropy(parallel(x), (x[:, 0] > 0).long()).backward()
            optimizer.step()
            controller.step()
            lambdas.append([line.lambda_ for line in controller.report().targets])
        outcomes.append((lambdas, [p.detach().view(torch.int32).tolist() for p in model.parameters()],
                         controller.exact, [line.nonzeros for line in controller.report().layers]))
    return outcomes


def shards(rank, divided):
    """Rows of two matrices on each rank (3 of 4 parts on rank 0), or all of them in one process."""
    whole = [torch.randn(40, 10, generator=generator(1)), torch.randn(16, 20, generator=generator(2))]
    parts = []
    for w in whole:
        cut = 3 * len(w) // 4
        parts.append(nn.Parameter((w if not divided else w[:cut] if rank == 0 else w[cut:]).clone()))
    return parts


def sharded_training(rank, divided=True):
    outcomes = []
    for fused in (True, False):
        parameters = shards(rank, divided)
        aims = [p.detach() * 0.5 for p in parameters]
        pairs = list(zip(("first", "second"), parameters))
        optimizer = ProxSGD(pairs, lr=0.1) if fused else torch.optim.SGD(parameters, lr=0.1)
        target = {"first": 41, "second": 0.9} if fused else 75
        controller = SparsityController(optimizer, target=target, steps=80, debias=0.25, finish=0.05,
                                        process_group=dist.group.WORLD if divided else None)
        lambdas = []
        for _ in range(80):
            for p, aim in zip(parameters, aims):
                p.grad = p.detach() - aim
            optimizer.step()
            controller.step()
            lambdas.append([line.lambda_ for line in controller.report().targets])
        report = controller.report()
        outcomes.append((lambdas, [line.nonzeros for line in report.layers], report.exact, report.weights,
                         [(p != 0).tolist() for p in parameters]))
    return outcomes


def has_fully_shard():
    """PyTorch 1.13's torch.distributed.fsdp does not load in every Python that it runs in: not asked."""
    return tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (2, 6)


def fully_sharded(rank):
    """Parameters that are DTensors, each rank with some of their rows."""
    from torch.distributed.fsdp import fully_shard
    outcomes = []
    for fused in (True, False):
        model = mlp(8, 25, 3, seed=5)  # 25 rows: 13 and 12
        if rank is not None:
            fully_shard(model)
        pairs = list(model.named_parameters())
        optimizer = (ProxSGD(pairs, lr=0.1, momentum=0.9, penalise="[02].weight") if fused
                     else torch.optim.SGD(pairs, lr=0.1, momentum=0.9))
        controller = SparsityController(optimizer, target=0.9, steps=60, per_layer=fused,
                                        process_group=dist.group.WORLD if rank is not None else None)
        random = generator(11)
        for _ in range(60):
            x = torch.randn(16, 8, generator=random)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), (x[:, 0] > 0).long()).backward()
            optimizer.step()
            controller.step()
        report = controller.report()
        whole = [p.full_tensor() if rank is not None else p for _, p in pairs]
        outcomes.append(([line.nonzeros for line in report.layers], report.exact, report.weights,
                         [p.detach().flatten().tolist() for p in whole]))
    return outcomes


def cut_with_ties(rank):
    outcomes = []
    random = generator(7)
    for wanted in (1, 5, 13, 40, 59):
        whole = torch.randint(-3, 4, (60,), generator=random).float()
        mine = [t.clone() for t in (whole[:25], whole[25:40])] if rank == 0 else [whole[40:].clone()]
        keep_largest_(mine, wanted, dist.group.WORLD, torch.device("cpu"))
        outcomes.append((whole.tolist(), torch.cat(mine).tolist(), wanted))
    return outcomes


@unittest.skipUnless(dist.is_available() and dist.is_gloo_available() if hasattr(dist, "is_gloo_available")
                     else dist.is_available(), "this PyTorch has no gloo")
class TwoRanks(unittest.TestCase):
    def test_data_parallel_ranks_have_the_same_lambda_and_zeros(self):
        first, second = on_two_ranks(data_parallel)
        for (lambdas, weights, exact, counts), other in zip(first, second):
            self.assertEqual((lambdas, weights, exact, counts), other)
            self.assertTrue(exact)
            self.assertEqual(sum(counts), 26)
            self.assertGreater(len({tuple(one) for one in lambdas}), 20, "λ moved")

    def test_divided_weights_get_what_whole_ones_do(self):
        first, second = on_two_ranks(sharded_training)
        alone = sharded_training(0, divided=False)
        for (lambdas, counts, exact, weights, zeros), other, (_, counts_alone, *_) in zip(first, second, alone):
            self.assertEqual((lambdas, counts, exact, weights), other[:4])
            self.assertTrue(exact)
            self.assertEqual(weights, 720)
            self.assertGreater(min(lambdas[-1]), 0, "λ is known after the finish, whose steps go without")
            here = [sum(map(sum, layer)) for layer in zeros]
            there = [sum(map(sum, layer)) for layer in other[4]]
            self.assertEqual([a + b for a, b in zip(here, there)], counts)
            self.assertEqual(sum(counts), sum(counts_alone))
            self.assertTrue(all(here), "both ranks keep some")

    @unittest.skipUnless(has_fully_shard(), "torch.distributed.fsdp.fully_shard: needs PyTorch 2.6")
    def test_fully_sharded_parameters_get_what_whole_ones_do(self):
        first, second = on_two_ranks(fully_sharded)
        self.assertEqual(first, second)
        for (counts, exact, weights, values), alone in zip(first, fully_sharded(None)):
            self.assertTrue(exact)
            self.assertEqual((sum(counts), weights), (sum(alone[0]), alone[2]))
            self.assertEqual([sum(x != 0 for x in layer) for layer in values[::2]], counts)
            self.assertEqual([len(layer) for layer in values], [len(layer) for layer in alone[3]])

    def test_the_cut_is_a_full_sort_s_with_ties_by_rank_and_index(self):
        for (whole, a, wanted), (_, b, _) in zip(*on_two_ranks(cut_with_ties)):
            order = sorted(range(60), key=lambda i: (-abs(whole[i]), i))[:wanted]
            expected = [whole[i] if i in order else 0.0 for i in range(60)]
            self.assertEqual(a + b, expected, f"{wanted} wanted, seed {support.SEED}")


if __name__ == "__main__":
    unittest.main()
