"""What each study trains: variants of a configuration, each with several seeds."""


class Run:
    def __init__(self, config, variant, seed, settings):
        self.config, self.variant, self.seed = config, variant, seed
        self.settings = settings + ["run.seed=%d" % seed]
        self.folder = "".join(c if c.isalnum() or c in ".-" else "_" for c in "%s-seed-%d" % (variant, seed))


class Study:
    """variants: (label, configuration, settings). With `told` the table has what the command said of each run, refusals
    among them, and the test loss over that of the same seed's variant "GROUP: dense", where labels are "GROUP: what"."""

    def __init__(self, name, title, question, variants, seeds=1, told=False):
        self.name, self.title, self.question, self.variants, self.seeds = name, title, question, variants, seeds
        self.told = told

    def runs(self, seeds):
        """Seed by seed, so that what is there when time runs out is all variants with fewer seeds."""
        return [Run(config, label, seed, settings)
                for seed in range(1, seeds + 1) for label, config, settings in self.variants]


SINGLE = "examples/mackey_glass_single.toml"
ONE_RUN = "examples/mackey_glass_one_run.toml"
FASHION = "examples/fashion_mnist_one_run_small.toml"
RULE = "authors' rule"


def target(count):
    return "sparsity.target_nnz=%d" % count


def within(tolerance):
    return "sparsity.tolerance=%g" % tolerance


def seeds():
    variants = []
    for count in (500, 1000, 2000, 5000):
        variants += [("one run, %d" % count, ONE_RUN, [target(count)]),
                     ("%s, %d" % (RULE, count), SINGLE, [target(count), within(0.001)])]
    return variants + [("dense", SINGLE, ["search.method=fixed", "search.lambda=0"])]


def tolerances():
    variants = []
    for tolerance in (0.1, 0.01, 0.001, 0.0):
        variants += [("%s, %g" % (RULE, tolerance), SINGLE, [within(tolerance)]),
                     ("converged, %g" % tolerance, SINGLE, [within(tolerance), "search.stop=converged",
                                                            "search.max_rounds=20"])]
    return variants + [("one run", ONE_RUN, [])]


def layers():
    each = "sparsity.layers={fc1=650,fc2=1200,fc3=1000,fc4=45}"
    fashion = "sparsity.layers={conv1=250,conv2=8000,conv3=13000,fc1=20000,fc2=4200}"
    return [("Mackey-Glass, one λ", ONE_RUN, [target(2895)]), ("Mackey-Glass, one λ a layer", ONE_RUN, [each]),
            ("Fashion-MNIST, one λ", FASHION, [target(45450), "search.compare_dense=false"]),
            ("Fashion-MNIST, one λ a layer", FASHION, [fashion, "search.compare_dense=false"])]


def brackets():
    """The bracket that the search begins with; "automatic" takes λ_max from the gradient at zero weights."""
    return [("the paper's ends", SINGLE, ["search.lambda=[1e-7,1e-3]"]), ("wide", SINGLE, ["search.lambda=[1e-9,1e-1]"]),
            ("narrow", SINGLE, ["search.lambda=[5e-5,5e-4]"]),
            ("beside the solution", SINGLE, ["search.lambda=[1e-3,1e-2]"]), ("automatic", SINGLE, ["search.lambda=[]"])]


def activations():
    names = ("relu", "leaky-relu", "tanh", "sigmoid", "gelu", "silu")
    return [("%s, %s" % (name, method), config, ["model.activation=%s" % name])
            for name in names for method, config in (("one run", ONE_RUN), (RULE, SINGLE))]


def sizes():
    widths = {"1e4": [6, 96, 96, 1], "2.5e4": [6, 128, 128, 64, 1], "1e5": [6, 256, 256, 128, 1],
              "2.5e4, deep": [6] + [72] * 6 + [1]}
    variants = []
    for label, width in widths.items():
        total = sum(a * b for a, b in zip(width, width[1:]))
        variants.append(("%s weights, full batch" % label, ONE_RUN, ["model.widths=%s" % width, target(total // 12)]))
    for batch in (32, 128):
        variants.append(("2.5e4 weights, batch %d" % batch, ONE_RUN, ["train.batch=%d" % batch, target(2117)]))
    return variants


def searches():
    converged = ["search.stop=converged", "search.max_rounds=20", "search.lambda=[1e-7,1e-3]"]
    variants = []
    for method in ("gradient-median", "log-midpoint", "interpolate"):
        variants += [(method, SINGLE, ["search.method=" + method]),
                     ("%s, converged" % method, SINGLE, ["search.method=" + method] + converged)]
    return variants + [("interpolate, converged, warm", SINGLE,
                        ["search.method=interpolate", "search.warm_start=true"] + converged)]


def failures():
    def dense(label, settings):
        return ("%s: dense" % label, SINGLE, ["search.method=fixed", "search.lambda=0"] + settings)

    wanted = [("1 weight a layer", ["sparsity.layers={fc1=1,fc2=1,fc3=1,fc4=1}"]), ("99.9 % zeros", [target(25)]),
              ("99 % zeros", [target(254)]), ("92 % zeros", []), ("10 % zeros", [target(22867)])]
    once = [("1 zero", [target(25407)]), ("none in fc2", ["sparsity.layers={fc1=100,fc2=0,fc3=100,fc4=10}"])]
    variants = []
    for steps in (3, 20, 200, 2000, 5000, 10000):
        label, length = "{:,} steps".format(steps), ["train.steps=%d" % steps]
        variants.append(dense(label, length))
        variants += [("%s: %s" % (label, name), ONE_RUN, settings + length)
                     for name, settings in wanted + (once if steps == 2000 else [])]
    for rate in (0.5, 2.0):
        label, settings = "2,000 steps, learning rate %g" % rate, ["train.steps=2000", "train.learning_rate=%g" % rate]
        variants += [dense(label, settings), ("%s: 92 %% zeros" % label, ONE_RUN, settings)]
    return variants


ALL = [
    Study("seeds", "Seeds: exactness, effort and error",
          "Mackey-Glass, four targets: how far do the number of weights, the steps and the test error spread over the seeds, "
          "with the authors' rule (retrain, gradient median, first hit within 0.1 %) and with one run of 50,000 steps?",
          seeds(), seeds=20),
    Study("layers", "One λ or one λ a layer, at equal sparsity in all",
          "Does it pay to prescribe the layers' numbers (those of arXiv 2408.02801) instead of their sum?", layers(), seeds=5),
    Study("tolerance", "Tolerance",
          "Mackey-Glass, 2,000 weights: what do 10 %, 1 %, 0.1 % and none cost each way of searching?", tolerances(), seeds=5),
    Study("brackets", "Where the search begins",
          "Mackey-Glass, 2,000 weights within 0.1 %, authors' rule: trainings and error by the first bracket.", brackets(),
          seeds=5),
    Study("activations", "Activation", "Mackey-Glass, 2,000 weights, six activations.", activations(), seeds=5),
    Study("searches", "Searches by retraining",
          "Mackey-Glass, 2,000 weights within 0.1 %: trainings, steps and error by the rule for the next λ.", searches(), seeds=5),
    Study("failures", "Budgets, targets and seeds for which one run fails",
          "Mackey-Glass (25,408 weights) with budgets far below 50,000 steps and targets at both ends: what is lost against the "
          "dense network of the same budget, and what does the user see?", failures(), seeds=3, told=True),
    Study("sizes", "Width, depth and batch", "Mackey-Glass, a twelfth of the weights, one run.", sizes(), seeds=3),
]
