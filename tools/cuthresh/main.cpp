#include "app.hpp"

int main(int argc, char** argv) {
  return cuthresh::command::run(argc, argv);
}
