// The kernels of the instruction set in use, for a table {one per set} beside that of the neurons.
#pragma once
#include <cstring>

extern "C" const char* spikeloom_variant(const char* name);

template <class Variant>
const Variant& chosen_of(const Variant* const* table, int length) {
  const char* name = spikeloom_variant(nullptr);
  for (int i = 0; i + 1 < length; ++i)
    if (!std::strcmp(table[i]->name, name)) return *table[i];
  return *table[length - 1];
}
