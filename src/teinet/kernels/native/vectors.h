// Vectors of floats, loaded from memory that holds float or bfloat16, and stored there.

#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#ifdef __AVX512F__
#include <immintrin.h>
#endif

struct bf16 {
    uint16_t bits;
};

#ifdef __AVX512F__
constexpr int WIDE = 16;  // floats in a register
#else
constexpr int WIDE = 8;
#endif

template <int N>
struct Lanes {
    typedef float Floats __attribute__((vector_size(4 * N)));
    typedef uint32_t Words __attribute__((vector_size(4 * N)));
    typedef uint16_t Halves __attribute__((vector_size(2 * N)));
};

template <int N>
using Floats = typename Lanes<N>::Floats;

template <int N>
inline Floats<N> load(const float* from) {
    Floats<N> values;
    std::memcpy(&values, from, sizeof values);
    return values;
}

template <int N>
inline Floats<N> load(const bf16* from) {
    typename Lanes<N>::Halves halves;
    std::memcpy(&halves, from, sizeof halves);
#ifdef __AVX512F__
    if constexpr (N == 16) return (Floats<N>)_mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)halves), 16);
#endif
    return (Floats<N>)(__builtin_convertvector(halves, typename Lanes<N>::Words) << 16);
}

template <int N>
inline void store(float* to, Floats<N> values) {
    std::memcpy(to, &values, sizeof values);
}

template <int N>
inline void store(bf16* to, Floats<N> values) {  // to nearest, ties to even; a NaN stays one
#ifdef __AVX512BF16__
    if constexpr (N == 16) {
        const auto halves = _mm512_cvtneps_pbh((__m512)values);
        std::memcpy(to, &halves, sizeof halves);
        return;
    }
#endif
    typedef typename Lanes<N>::Words Words;
    const Words words = (Words)values;
    const Words rounded = (words + 0x7fff + ((words >> 16) & 1)) >> 16, nan = (words >> 16) | 0x40;
    const auto halves =
        __builtin_convertvector((words & 0x7fffffff) > 0x7f800000 ? nan : rounded, typename Lanes<N>::Halves);
    std::memcpy(to, &halves, sizeof halves);
}

template <typename S>
inline float to_float(S value) {
    return load<1>(&value)[0];
}

template <int N>
inline float sum_of(Floats<N> values) {
    if constexpr (N == 1) {
        return values[0];
    } else {
        Floats<N / 2> halves[2];
        std::memcpy(halves, &values, sizeof values);
        return sum_of<N / 2>(halves[0] + halves[1]);
    }
}

// body(width, c) for all c below `count`, `width` at a time: std::integral_constant of WIDE, of 8, of 1
template <typename Body>
inline void for_lanes(int64_t count, Body body) {
    int64_t c = 0;
    for (; c + WIDE <= count; c += WIDE) body(std::integral_constant<int, WIDE>{}, c);
    for (; c + 8 <= count; c += 8) body(std::integral_constant<int, 8>{}, c);
    for (; c < count; ++c) body(std::integral_constant<int, 1>{}, c);
}
