#include "threads.hpp"

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <thread>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#include <unistd.h>
#endif

namespace {

// GOMP_parallel of the runtime that torch has loaded. A second runtime would keep its threads
// spinning on the cores that the first one needs.
using Parallel = void (*)(void (*)(void*), void*, unsigned threads, unsigned flags);
std::atomic<Parallel> openmp{nullptr};
std::atomic<bool> forked{false};  // neither runtime's threads live on in a forked child

struct Job {
  Task task;
  void* data;
  int64_t count;
  std::atomic<int64_t> next{0};
  void work() {
    for (int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < count;) task(data, i);
  }
};

void work_on(void* job) { static_cast<Job*>(job)->work(); }

// Threads that sleep between jobs. One job at a time: a second caller works alone.
class Crew {
 public:
  void run(int threads, Job& job) {
    std::unique_lock<std::mutex> turn(busy, std::try_to_lock);
    if (!turn || !grow(threads - 1)) return job.work();
    {
      std::lock_guard<std::mutex> lock(state);
      current = &job;
      wanted = threads - 1;
      ++generation;
    }
    wake.notify_all();
    job.work();
    std::unique_lock<std::mutex> lock(state);
    wanted = 0;
    done.wait(lock, [&] { return working == 0; });
    current = nullptr;
  }

 private:
  bool grow(int threads) {
    try {
      for (; started < threads; ++started) std::thread(&Crew::live, this).detach();
    } catch (...) {
      return started > 0;  // the system gives no more: make do
    }
    return true;
  }
  void live() {
    uint64_t seen = 0;
    std::unique_lock<std::mutex> lock(state);
    for (;;) {
      wake.wait(lock, [&] { return generation != seen; });
      seen = generation;
      if (wanted <= 0) continue;
      --wanted;
      ++working;
      Job* job = current;
      lock.unlock();
      job->work();
      lock.lock();
      if (--working == 0) done.notify_one();
    }
  }

  std::mutex busy, state;
  std::condition_variable wake, done;
  Job* current = nullptr;
  uint64_t generation = 0;
  int started = 0, wanted = 0, working = 0;
};

// Never destroyed: its threads may outlive the statics of the process. Replaced after a fork.
std::atomic<Crew*> crew{nullptr};

#if defined(__unix__) || defined(__APPLE__)
void in_child() {
  forked = true;
  crew = nullptr;
}
const int registered = pthread_atfork(nullptr, nullptr, in_child);
#endif

Crew& hands() {
  Crew* now = crew.load();
  if (now) return *now;
  Crew* made = new Crew;
  if (crew.compare_exchange_strong(now, made)) return *made;
  delete made;
  return *now;
}

struct Scratch {
  void* block = nullptr;
  int64_t floats = 0;
  ~Scratch() { std::free(block); }
};
thread_local Scratch own;

}  // namespace

void share(int threads, int64_t count, Task task, void* data) {
  Job job{task, data, count};
  if (threads > count) threads = static_cast<int>(count);
  if (threads <= 1) return job.work();
  Parallel parallel = openmp.load();
  if (parallel && !forked) return parallel(work_on, &job, static_cast<unsigned>(threads), 0);
  hands().run(threads, job);
}

float* scratch(int64_t floats) {
  if (floats <= own.floats) return static_cast<float*>(own.block);
  std::free(own.block);
  size_t bytes = (static_cast<size_t>(floats) * sizeof(float) + 63) / 64 * 64;
  own.block = std::aligned_alloc(64, bytes);
  own.floats = own.block ? floats : 0;
  return static_cast<float*>(own.block);
}

extern "C" __attribute__((visibility("default"))) void spikeloom_use_openmp(void* gomp_parallel) {
  openmp = reinterpret_cast<Parallel>(gomp_parallel);
}
