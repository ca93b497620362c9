// The queue of event-driven execution. Time is in whole steps, so that in the order of steps the
// queue is a row of buckets; in drawn order it is a heap.
#include <algorithm>
#include <cstring>
#include <initializer_list>
#include <map>
#include <memory>
#include <queue>
#include <tuple>
#include <vector>

#include "chosen.hpp"
#include "events.hpp"
#include "hash.hpp"

#define EXPORT extern "C" __attribute__((visibility("default")))

extern const EventsVariant events_baseline;
#ifdef SPIKELOOM_X86
extern const EventsVariant events_avx2, events_avx512;
#endif

namespace {

constexpr int64_t AHEAD = 1024, NEVER = -1, TAKEN = -2;
constexpr double SURELY = 0.999;

const EventsVariant& variant() {
#ifdef SPIKELOOM_X86
  static const EventsVariant* const table[] = {&events_avx512, &events_avx2, &events_baseline};
  return chosen_of(table, 3);
#else
  return events_baseline;
#endif
}
template <class T>
EventsKernel<T> kernel();
template <>
EventsKernel<double> kernel<double>() { return variant().wide; }
template <>
EventsKernel<float> kernel<float>() { return variant().narrow; }

uint64_t drawn(uint64_t seed, std::initializer_list<int64_t> about) {
  uint64_t bits = mixed(seed);
  for (int64_t each : about) bits = mixed(bits ^ uint64_t(each));
  return bits;
}

struct Tally {
  int64_t inputs = 0, arrivals = 0, late = 0, dropped = 0, wakes = 0;
  Operations operations{0, 0};
};

struct Spike {
  int64_t time, population, neuron;
};

// A run of one network, whatever its potentials are.
struct Run {
  virtual ~Run() = default;
  virtual void feed(const int64_t* time, const int64_t* neuron, const double* value, int64_t n) = 0;
  virtual void advance(int64_t until) = 0;
  Tally tally;
  std::vector<Spike> spikes;
  std::vector<int64_t> fired_of;  // spikes of each population
  std::vector<double> outputs;
};

template <class T>
struct Packet {
  int64_t neuron;
  T value;
};

// Everything that comes in one step.
template <class T>
struct Bucket {
  std::vector<std::vector<Packet<T>>> packets;   // of each connection
  std::vector<std::vector<int64_t>> wakes;       // of each population
};

template <class T>
struct Entry {
  int64_t time;
  uint64_t draw, serial;
  bool wake;
  int64_t where, neuron;
  T value;
  bool operator>(const Entry& o) const {
    return std::tie(time, draw, serial) > std::tie(o.time, o.draw, o.serial);
  }
};

template <class T>
struct Members {
  EventPopulation rule;
  Neurons<T> n;
  std::vector<T> v, current;
  std::vector<int64_t> last, wake, places, incoming, outgoing;  // last: of places, or of neurons
  std::vector<uint8_t> touched;
  Hearing<T> hearing;
};

template <class T>
class Network final : public Run {
 public:
  explicit Network(const EventsCall& call)
      : call_(call), kernel_(kernel<T>()), members_(call.populations) {
    for (int64_t p = 0; p < call.populations; ++p) prepare(members_[p], call.population[p]);
    for (int64_t c = 0; c < call.connections; ++c) {
      const EventConnection& link = call.connection[c];
      members_[link.target - 1].incoming.push_back(c);
      (link.source ? members_[link.source - 1].outgoing : inputs_).push_back(c);
    }
    fired_of.assign(call.populations, 0);
    last_fired_.assign(members_.back().v.size(), 0);
    for (int64_t p = 0; p < call.populations; ++p)
      if (members_[p].rule.wakes)
        for (size_t i = 0; i < members_[p].v.size(); ++i) look_ahead(p, i, -1);
  }

  void feed(const int64_t* time, const int64_t* neuron, const double* value, int64_t n) override {
    tally.inputs += n;
    for (int64_t i = 0; i < n; ++i)
      for (int64_t c : inputs_) send(c, neuron[i], static_cast<T>(value[i]), time[i]);
  }

  void advance(int64_t until) override {
    for (; now_ < until; ++now_) {
      if (call_.drawn) in_drawn_order();
      else in_turns();
      read();
    }
  }

 private:
  void prepare(Members<T>& m, const EventPopulation& rule) {
    const int64_t size = rule.channels * rule.places;
    m.rule = rule;
    m.v.assign(size, static_cast<T>(rule.rest));
    m.current.assign(size, T(0));
    m.wake.assign(size, NEVER);
    m.last.assign(call_.drawn ? size : rule.places, -1);
    m.places.assign(rule.places, 0);
    m.touched.assign(rule.places, 0);
    m.n = {static_cast<const T*>(rule.keep), static_cast<const T*>(rule.gain),
           static_cast<const T*>(rule.threshold), static_cast<const T*>(rule.bias),
           static_cast<T>(rule.v_reset), static_cast<T>(rule.rest), rule.reset, rule.strict,
           rule.channels, m.v.data(), m.current.data()};
    m.hearing = {m.current.data(), m.touched.data(), m.places.data(), 0, rule.channels};
    fired_.resize(std::max<size_t>(fired_.size(), rule.channels));
  }

  Bucket<T>& bucket(int64_t time) {
    if (time == latest_time_) return *latest_;
    auto found = buckets_.find(time);
    if (found != buckets_.end()) return remember(time, *found->second);
    std::unique_ptr<Bucket<T>> made;
    if (spare_.empty()) {
      made.reset(new Bucket<T>);
      made->packets.resize(call_.connections);
      made->wakes.resize(call_.populations);
    } else {
      made = std::move(spare_.back());
      spare_.pop_back();
    }
    return remember(time, *(buckets_[time] = std::move(made)));
  }

  Bucket<T>& remember(int64_t time, Bucket<T>& found) {
    latest_time_ = time;
    latest_ = &found;
    return found;
  }

  void send(int64_t c, int64_t neuron, T value, int64_t time) {
    const EventConnection& link = call_.connection[c];
    int64_t late = 0;
    if (link.source && call_.late > 0) {
      const uint64_t number = drawn(call_.late_seed, {c, neuron, time});
      if ((number >> 11) * 0x1p-53 < call_.late) late = 1 + mixed(number) % uint64_t(call_.most);
    }
    tally.late += late > 0;
    time += link.delay + late;
    if (call_.steps >= 0 && time >= call_.steps) ++tally.dropped;
    else if (call_.drawn) push(time, false, c, neuron, value);
    else bucket(time).packets[c].push_back({neuron, value});
  }

  void push(int64_t time, bool wake, int64_t where, int64_t neuron, T value) {
    const int64_t from = wake ? where + 1 : where;  // populations are numbered from 1
    const uint64_t draw = drawn(call_.seed, {int64_t(wake), from, neuron, time});
    heap_.push({time, draw, ++serial_, wake, where, neuron, value});
  }

  void arrive(int64_t c, const Packet<T>& packet) {
    const EventConnection& link = call_.connection[c];
    const int64_t channels =
        link.source ? members_[link.source - 1].rule.channels : call_.in_channels;
    ++tally.arrivals;
    kernel_.deliver(link.hops, link.count, packet.neuron / channels, packet.neuron % channels,
                    packet.value, packet.value == 1, members_[link.target - 1].hearing,
                    tally.operations);
  }

  void in_turns() {
    auto found = buckets_.find(now_);
    if (found == buckets_.end()) return;
    Bucket<T>& bucket = *found->second;
    for (int64_t p = 0; p < call_.populations; ++p) turn(p, bucket);
    spare_.push_back(std::move(found->second));
    buckets_.erase(found);
    latest_time_ = NEVER;
  }

  // Everything that a step brings to a population arrives; then its neurons decide.
  void turn(int64_t p, Bucket<T>& bucket) {
    Members<T>& m = members_[p];
    for (int64_t c : m.incoming) {
      for (const Packet<T>& packet : bucket.packets[c]) arrive(c, packet);
      bucket.packets[c].clear();
    }
    Hearing<T>& heard = m.hearing;
    for (int64_t i : bucket.wakes[p]) {
      if (m.wake[i] != now_) continue;
      ++tally.wakes;
      m.wake[i] = TAKEN;
      const int64_t place = i / m.rule.channels;
      if (!m.touched[place]) m.places[heard.count++] = place;
      m.touched[place] = 1;
    }
    bucket.wakes[p].clear();
    if (m.rule.fires) {
      std::sort(heard.places, heard.places + heard.count);
      for (int64_t k = 0; k < heard.count; ++k) decide(p, heard.places[k]);
    }
    forget(heard);
  }

  static void forget(Hearing<T>& heard) {
    for (int64_t k = 0; k < heard.count; ++k) heard.touched[heard.places[k]] = 0;
    heard.count = 0;
  }

  void decide(int64_t p, int64_t place) {
    Members<T>& m = members_[p];
    const int64_t count = kernel_.decide(m.n, place, m.last[place], now_, fired_.data());
    m.last[place] = now_;
    for (int64_t k = 0; k < count; ++k) fire(p, fired_[k]);
    if (!m.rule.wakes) return;
    const int64_t first = place * m.rule.channels;
    for (int64_t i = first; i < first + m.rule.channels; ++i) look_ahead(p, i, now_);
  }

  void fire(int64_t p, int64_t i) {
    ++fired_of[p];
    spikes.push_back({now_, p, i});
    if (p + 1 == call_.populations) ++last_fired_[i];
    for (int64_t c : members_[p].outgoing) send(c, i, T(1), now_);
  }

  void in_drawn_order() {
    while (!heap_.empty() && heap_.top().time == now_) {
      const Entry<T> entry = heap_.top();
      heap_.pop();
      if (entry.wake) {
        if (members_[entry.where].wake[entry.neuron] != now_) continue;
        ++tally.wakes;
        decide_one(entry.where, entry.neuron);
        continue;
      }
      arrive(entry.where, {entry.neuron, entry.value});
      const int64_t p = call_.connection[entry.where].target - 1;
      Members<T>& m = members_[p];
      Hearing<T>& heard = m.hearing;
      std::sort(heard.places, heard.places + heard.count);
      for (int64_t k = 0; m.rule.fires && k < heard.count; ++k) {
        const int64_t first = heard.places[k] * m.rule.channels;
        for (int64_t i = first; i < first + m.rule.channels; ++i)
          if (m.current[i] != 0) decide_one(p, i);
      }
      forget(heard);
    }
  }

  void decide_one(int64_t p, int64_t i) {
    Members<T>& m = members_[p];
    const T x = m.current[i];
    m.current[i] = 0;
    T h = m.v[i];
    if (m.last[i] < now_) {
      for (int64_t step = m.last[i] + 1; step < now_; ++step) {
        const T before = h;
        h = charged(m.n, i, h, m.n.bias[i]);
        if (h == before) break;
      }
      h = charged(m.n, i, h, m.n.bias[i] + x);
    } else {
      h = h + m.n.gain[i] * x;
    }
    const bool fired = fires(m.n, i, h);
    m.v[i] = fired ? after_spike(m.n, i, h) : h;
    m.last[i] = now_;
    if (fired) fire(p, i);
    look_ahead(p, i, now_);
  }

  // When a neuron would fire in silence, if it does, goes into the queue.
  void look_ahead(int64_t p, int64_t i, int64_t last) {
    Members<T>& m = members_[p];
    if (!m.rule.wakes) return;
    const int64_t limit = call_.steps < 0 ? AHEAD : std::min(AHEAD, call_.steps - 1 - last);
    const int64_t ahead = crossing(m.n, i, limit);
    const int64_t wake = ahead ? last + ahead : NEVER;
    if (wake != NEVER && wake != m.wake[i]) {
      if (call_.drawn) push(wake, true, p, i, T(0));
      else bucket(wake).wakes[p].push_back(i);
    }
    m.wake[i] = wake;
  }

  static bool surely_silent(const Neurons<T>& n, int64_t i) {
    const T far = static_cast<T>(SURELY) * n.threshold[i];
    if (n.rest != 0 || !(far > 0) || !(n.v[i] < far)) return false;
    const T drive = n.gain[i] * n.bias[i], leak = 1 - n.keep[i];
    return drive <= 0 || drive < far * leak;
  }

  static int64_t crossing(const Neurons<T>& n, int64_t i, int64_t limit) {
    if (surely_silent(n, i)) return 0;
    T h = n.v[i];
    for (int64_t step = 1; step <= limit; ++step) {
      const T before = h;
      h = charged(n, i, h, n.bias[i]);
      if (fires(n, i, h)) return step;
      if (h == before) return 0;
    }
    return limit == AHEAD ? limit : 0;
  }

  void read() {
    Members<T>& m = members_.back();
    if (m.rule.fires) {
      for (int64_t& count : last_fired_) {
        outputs.push_back(static_cast<double>(count));
        count = 0;
      }
      return;
    }
    for (size_t i = 0; i < m.v.size(); ++i) {
      m.v[i] = charged(m.n, i, m.v[i], m.n.bias[i] + m.current[i]);
      m.current[i] = 0;
      outputs.push_back(static_cast<double>(m.v[i]));
    }
  }

  const EventsCall call_;
  const EventsKernel<T> kernel_;
  std::vector<Members<T>> members_;
  std::vector<int64_t> inputs_, fired_, last_fired_;
  std::map<int64_t, std::unique_ptr<Bucket<T>>> buckets_;
  std::vector<std::unique_ptr<Bucket<T>>> spare_;
  std::priority_queue<Entry<T>, std::vector<Entry<T>>, std::greater<Entry<T>>> heap_;
  Bucket<T>* latest_ = nullptr;
  int64_t now_ = 0, latest_time_ = NEVER;
  uint64_t serial_ = 0;
};

// Runs some work; 1 if memory ran out.
template <class Work>
int guarded(Work work) {
  try {
    work();
    return 0;
  } catch (const std::bad_alloc&) {
    return 1;
  }
}

}  // namespace

// What it points to must stay; null if memory ran out.
EXPORT void* spikeloom_events_open(const EventsCall* call) {
  Run* run = nullptr;
  guarded([&] {
    if (call->wide) run = new Network<double>(*call);
    else run = new Network<float>(*call);
  });
  return run;
}

EXPORT int spikeloom_events_feed(void* run, const int64_t* time, const int64_t* neuron,
                                 const double* value, int64_t count) {
  return guarded([&] { static_cast<Run*>(run)->feed(time, neuron, value, count); });
}

EXPORT int spikeloom_events_advance(void* run, int64_t until) {
  return guarded([&] { static_cast<Run*>(run)->advance(until); });
}

// Counts in the order of Counts in events.py, then the spikes of each population.
EXPORT void spikeloom_events_counts(const void* run, int64_t* to) {
  const Run& r = *static_cast<const Run*>(run);
  const Tally& t = r.tally;
  const int64_t found[] = {t.inputs, t.arrivals, t.operations.accumulates,
                           t.operations.multiply_accumulates, t.late, t.dropped, t.wakes,
                           static_cast<int64_t>(r.spikes.size())};
  std::memcpy(to, found, sizeof(found));
  std::copy(r.fired_of.begin(), r.fired_of.end(), to + sizeof(found) / sizeof(int64_t));
}

EXPORT void spikeloom_events_spikes(const void* run, int64_t* to) {
  const Run& r = *static_cast<const Run*>(run);
  if (!r.spikes.empty()) std::memcpy(to, r.spikes.data(), r.spikes.size() * sizeof(Spike));
}

EXPORT void spikeloom_events_outputs(const void* run, double* to) {
  const Run& r = *static_cast<const Run*>(run);
  std::copy(r.outputs.begin(), r.outputs.end(), to);
}

EXPORT void spikeloom_events_close(void* run) { delete static_cast<Run*>(run); }

EXPORT int64_t spikeloom_events_size(int which) {
  return which == 0   ? sizeof(EventsCall)
         : which == 1 ? sizeof(EventPopulation)
         : which == 2 ? sizeof(EventConnection)
                      : sizeof(EventHop);
}
