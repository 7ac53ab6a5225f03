// float and bfloat16, read as float and written back.

#pragma once

#include <cstdint>
#include <cstring>

struct bf16 {
    uint16_t bits;
};

inline float to_float(float value) { return value; }

inline float to_float(bf16 value) {
    uint32_t wide = uint32_t(value.bits) << 16;
    float result;
    std::memcpy(&result, &wide, 4);
    return result;
}

inline void store(float& place, float value) { place = value; }

inline void store(bf16& place, float value) {  // to nearest, ties to even; a NaN stays one
    uint32_t wide;
    std::memcpy(&wide, &value, 4);
    uint32_t rounded = (wide + 0x7fff + ((wide >> 16) & 1)) >> 16;
    uint32_t nan = (wide >> 16) | 0x40;
    place.bits = uint16_t((wide & 0x7fffffff) > 0x7f800000 ? nan : rounded);
}
