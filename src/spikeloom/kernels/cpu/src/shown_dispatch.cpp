// Shows samples to competing neurons: one after the other while they learn, else on all threads.
#include <algorithm>
#include <atomic>

#include "chosen.hpp"
#include "shown.hpp"
#include "threads.hpp"

#define EXPORT extern "C" __attribute__((visibility("default")))

extern const ShownVariant shown_baseline;
#ifdef SPIKELOOM_X86
extern const ShownVariant shown_avx2, shown_avx512;
#endif

namespace {

const ShownVariant& variant() {
#ifdef SPIKELOOM_X86
  static const ShownVariant* const table[] = {&shown_avx512, &shown_avx2, &shown_baseline};
  return chosen_of(table, 3);
#else
  return shown_baseline;
#endif
}

struct Job {
  const ShownCall& call;
  ShownTask run;
  int64_t each;  // samples of a task
  std::atomic<bool> failed{false};
};

void run_task(void* data, int64_t index) {
  Job& job = *static_cast<Job*>(data);
  const int64_t first = index * job.each;
  float* floats = scratch(shown_floats(job.call));
  if (!floats) job.failed = true;
  else job.run(job.call, first, std::min(job.each, job.call.samples - first), floats);
}

}  // namespace

EXPORT int spikeloom_shown(const ShownCall* c) {
  const int threads = c->learns ? 1 : std::max(1, c->threads);
  Job job{*c, variant().run, c->learns ? c->samples : 1};
  share(threads, (c->samples + job.each - 1) / job.each, run_task, &job);
  return job.failed;
}
EXPORT int64_t spikeloom_shown_size() { return sizeof(ShownCall); }
