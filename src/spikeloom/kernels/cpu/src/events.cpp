// The inner loops of event-driven execution: weights are added, neurons decide. Compiled once per
// instruction set.
#include "events.hpp"

#include <cstring>

namespace {

constexpr int64_t BYTES = 64;

template <class T>
struct Lanes {
  typedef T V __attribute__((vector_size(BYTES)));
  static constexpr int64_t COUNT = BYTES / sizeof(T);
};

template <class T>
inline typename Lanes<T>::V load(const T* from) {
  typename Lanes<T>::V found;
  std::memcpy(&found, from, BYTES);
  return found;
}

template <class T>
inline void store(T* to, typename Lanes<T>::V value) {
  std::memcpy(to, &value, BYTES);
}

template <class T>
inline void add_row(T* to, const T* row, T value, int64_t count) {
  int64_t i = 0;
  for (; i + Lanes<T>::COUNT <= count; i += Lanes<T>::COUNT)
    store<T>(to + i, load(to + i) + load(row + i) * value);
  for (; i < count; ++i) to[i] += row[i] * value;
}

template <class T>
inline void touch(Hearing<T>& to, int64_t place) {
  if (to.touched[place]) return;
  to.touched[place] = 1;
  to.places[to.count++] = place;
}

inline void note(Operations& done, bool unit, int64_t synapses) {
  (unit ? done.accumulates : done.multiply_accumulates) += synapses;
}

// Calls found(output, tap) for what sees the input at a place, outputs rising.
template <class Found>
inline void each_tap(const EventHop& h, int axis, int64_t at, int64_t length, Found found) {
  for (int64_t tap = h.kernel[axis] - 1; tap >= 0; --tap) {
    const int64_t reach = at + h.padding[axis] - tap * h.dilation[axis];
    if (reach < 0 || reach % h.stride[axis]) continue;
    const int64_t output = reach / h.stride[axis];
    if (output < length) found(output, tap);
  }
}

template <class T>
void deliver(const EventHop* hops, int64_t count, int64_t place, int64_t channel, T value, bool unit,
             Hearing<T>& to, Operations& done);

// A row of weights to the channels of one place from ``first`` on.
template <class T>
inline void row_arrives(const EventHop* hops, int64_t count, int64_t place, int64_t first,
                        const T* row, int64_t width, int64_t synapses, T value, bool unit,
                        Hearing<T>& to, Operations& done) {
  if (!synapses) return;
  const bool weighted = hops->kind != POOL;
  if (weighted || count == 1) note(done, unit, synapses);
  if (count == 1) {
    touch(to, place);
    add_row(to.current + place * to.channels + first, row, value, width);
    return;
  }
  for (int64_t o = 0; o < width; ++o)
    if (row[o] != 0)
      deliver<T>(hops + 1, count - 1, place, first + o, row[o] * value, unit && !weighted, to, done);
}

// A column of weights to one channel of all places.
template <class T>
void column_arrives(int64_t channel, const T* column, int64_t places, int64_t synapses,
                    T value, bool unit, Hearing<T>& to, Operations& done) {
  note(done, unit, synapses);
  if (to.count < places)
    for (int64_t p = 0; p < places; ++p)
      if (column[p] != 0) touch(to, p);
  T* current = to.current + channel;
  for (int64_t p = 0; p < places; ++p) current[p * to.channels] += column[p] * value;
}

template <class T>
void deliver(const EventHop* hops, int64_t count, int64_t place, int64_t channel, T value, bool unit,
             Hearing<T>& to, Operations& done) {
  const EventHop& h = *hops;
  const T* weights = static_cast<const T*>(h.weights);
  if (h.kind == MIXING) {
    const int64_t places = h.out_height * h.out_width;
    const int64_t head = channel / h.group, from = head * places + place;
    const T* row = weights + from * places;
    if (count == 1)
      return column_arrives<T>(channel, row, places, h.synapses[from], value, unit, to, done);
    for (int64_t p = 0; p < places; ++p)
      row_arrives<T>(hops, count, p, channel, row + p, 1, row[p] != 0, value, unit, to, done);
    return;
  }
  const int64_t y = place / h.in_width, x = place % h.in_width;
  const T scale = static_cast<T>(h.scale);
  each_tap(h, 0, y, h.out_height, [&](int64_t oy, int64_t i) {
    each_tap(h, 1, x, h.out_width, [&](int64_t ox, int64_t j) {
      const int64_t p = oy * h.out_width + ox;
      if (h.kind == POOL) {
        row_arrives<T>(hops, count, p, channel, &scale, 1, scale != 0, value, unit, to, done);
        return;
      }
      const int64_t row = (channel * h.kernel[0] + i) * h.kernel[1] + j;
      const int64_t first = h.first + channel / h.group * h.width;
      row_arrives<T>(hops, count, p, first, weights + row * h.width, h.width, h.synapses[row], value,
                     unit, to, done);
    });
  });
}

// A step of a place in silence; whether anything changed.
template <class T>
bool silent(const Neurons<T>& n, int64_t first) {
  bool changed = false;
  for (int64_t i = first; i < first + n.channels; ++i) {
    const T h = charged(n, i, n.v[i], n.bias[i]);
    changed |= h != n.v[i];
    n.v[i] = h;
  }
  return changed;
}

template <class Mask>
inline bool any(Mask mask) {
  uint64_t bits[BYTES / sizeof(uint64_t)], found = 0;
  std::memcpy(bits, &mask, BYTES);
  for (uint64_t part : bits) found |= part;
  return found != 0;
}

template <class T>
inline int64_t spikes_among(const Neurons<T>& n, int64_t i, int64_t end, int64_t* fired) {
  int64_t count = 0;
  for (; i < end; ++i)
    if (fires(n, i, n.v[i])) {
      n.v[i] = after_spike(n, i, n.v[i]);
      fired[count++] = i;
    }
  return count;
}

template <class T>
int64_t decide(const Neurons<T>& n, int64_t place, int64_t last, int64_t time, int64_t* fired) {
  const int64_t first = place * n.channels;
  for (int64_t step = last + 1; step < time && silent(n, first); ++step) {
  }
  constexpr int64_t LANES = Lanes<T>::COUNT;
  int64_t i = first, count = 0;
  const int64_t end = first + n.channels;
  for (; n.rest == 0 && i + LANES <= end; i += LANES) {
    const auto x = load(n.bias + i) + load(n.current + i);
    const auto h = load(n.keep + i) * load(n.v + i) + load(n.gain + i) * x;
    const auto threshold = load(n.threshold + i);
    store<T>(n.v + i, h);
    if (any(n.strict ? h > threshold : h >= threshold))
      count += spikes_among(n, i, i + LANES, fired + count);
  }
  for (int64_t rest = i; rest < end; ++rest)
    n.v[rest] = charged(n, rest, n.v[rest], n.bias[rest] + n.current[rest]);
  count += spikes_among(n, i, end, fired + count);
  std::memset(n.current + first, 0, n.channels * sizeof(T));
  return count;
}

}  // namespace

#define TEXT_OF(name) #name
#define TEXT(name) TEXT_OF(name)
#define JOINED(a, b) a##b
#define VARIANT(name) JOINED(events_, name)
extern const EventsVariant VARIANT(ISA);
const EventsVariant VARIANT(ISA) = {
    TEXT(ISA), {deliver<double>, decide<double>}, {deliver<float>, decide<float>}};
