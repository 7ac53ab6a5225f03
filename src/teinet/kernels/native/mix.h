// The gated temporal kernel: each frame of the output is a sum of three frames, each channel of each times its tap.
//
// A tap is a frame's gate times the kernel's number: taps (3, C) for each frame of the output. Frames are (P, C).

#pragma once

#include "vectors.h"

constexpr int64_t TILE = 16384;       // values of a frame in a tile: four frames of them fit a core's cache
constexpr int64_t SMALL = 1 << 15;    // values below which threads cost more than they bring

inline int64_t rows_of_tile(int64_t pixels, int64_t channels) {
    const int64_t rows = TILE / channels;
    return rows < 1 ? 1 : rows < pixels ? rows : pixels;
}

// out[p, c] = sum over i of taps[i][c] * in[i][p, c]; which of the three terms there are, the bits of TERMS say
template <int TERMS, typename S>
void mix_rows(const S* const* in, S* out, const float* taps, int64_t rows, int64_t C) {
    const S *left = in[0], *middle = in[1], *right = in[2];  // stores might change what `in` holds
    for (int64_t p = 0; p < rows; ++p) {
        for_lanes(C, [=](auto width, int64_t c) {
            constexpr int N = decltype(width)::value;
            const int64_t at = p * C + c;
            Floats<N> sum = {};
            if constexpr (TERMS & 2) sum = load<N>(taps + C + c) * load<N>(middle + at);
            if constexpr (TERMS & 1) sum += load<N>(taps + c) * load<N>(left + at);
            if constexpr (TERMS & 4) sum += load<N>(taps + 2 * C + c) * load<N>(right + at);
            store<N>(out + at, sum);
        });
    }
}

template <typename S>
void mix(int terms, const S* const* in, S* out, const float* taps, int64_t rows, int64_t C) {
    constexpr void (*WITH[8])(const S* const*, S*, const float*, int64_t, int64_t) = {
        mix_rows<0, S>, mix_rows<1, S>, mix_rows<2, S>, mix_rows<3, S>,
        mix_rows<4, S>, mix_rows<5, S>, mix_rows<6, S>, mix_rows<7, S>};
    WITH[terms](in, out, taps, rows, C);
}

// taps[c] = gate[c] * v[c, i]; a gate of null is 1, and so is v
template <typename W>
void write_taps(float* taps, const float* gate, const W* v, int64_t i, int64_t C) {
    for (int64_t c = 0; c < C; ++c) taps[c] = (gate ? gate[c] : 1.0f) * (v ? to_float(v[3 * c + i]) : 1.0f);
}
