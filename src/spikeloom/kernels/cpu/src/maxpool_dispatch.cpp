// Shares the images of a max-pooling among threads.
#include <algorithm>

#include "chosen.hpp"
#include "maxpool.hpp"
#include "threads.hpp"

#define EXPORT extern "C" __attribute__((visibility("default")))

extern const PoolVariant pool_baseline;
#ifdef SPIKELOOM_X86
extern const PoolVariant pool_avx2, pool_avx512;
#endif

namespace {

constexpr int64_t ALONE = 128 * 1024;  // elements below which threads cost more than they give

const PoolVariant& variant() {
#ifdef SPIKELOOM_X86
  static const PoolVariant* const table[] = {&pool_avx512, &pool_avx2, &pool_baseline};
  return chosen_of(table, 3);
#else
  return pool_baseline;
#endif
}

struct Job {
  const PoolCall& call;
  void (*run)(const PoolCall&, int64_t image);
};

void run_image(void* data, int64_t image) {
  Job& job = *static_cast<Job*>(data);
  job.run(job.call, image);
}

int run(const PoolCall& c, void (*function)(const PoolCall&, int64_t)) {
  Job job{c, function};
  const int64_t elements = c.images * c.height * c.width * c.channels;
  share(elements < ALONE ? 1 : std::max(1, c.threads), c.images, run_image, &job);
  return 0;
}

}  // namespace

EXPORT int spikeloom_maxpool_forward(const PoolCall* c) { return run(*c, variant().forward); }
EXPORT int spikeloom_maxpool_backward(const PoolCall* c) { return run(*c, variant().backward); }
EXPORT int64_t spikeloom_maxpool_size() { return sizeof(PoolCall); }
