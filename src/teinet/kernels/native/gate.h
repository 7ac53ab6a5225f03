// MEM's gate: pooling, the three 1x1 convolutions of images of one pixel, the sigmoid. A general matrix product repacks
// the weights first, which costs more than these few columns are worth: here each weight is read once, in the order in
// which it lies. All functions are called by every thread of a parallel region.
//
// w1, w2: (R, C), w3: (C, R), b1, b2: (R), b3: (C).

#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "vectors.h"

constexpr int COLUMNS = 8;      // pairs whose sums stay in registers
constexpr int64_t BLOCK = 512;  // channels of a frame that one thread pools
constexpr int64_t ROWS = 16;    // pixels summed in registers before they join the frame's sum

// sums[lane] += sum over rows of from[p * C + lane], for VECTORS vectors of lanes
template <int VECTORS, int N, typename S>
inline void sum_rows(const S* from, double* sums, int64_t rows, int64_t C) {
    Floats<N> part[VECTORS] = {};
    for (int64_t p = 0; p < rows; ++p)
        for (int v = 0; v < VECTORS; ++v) part[v] += load<N>(from + p * C + v * N);
    for (int v = 0; v < VECTORS; ++v)
        for (int lane = 0; lane < N; ++lane) sums[v * N + lane] += part[v][lane];
}

// sums[c - begin] = sum over pixels first..last-1 of frame[p, c]; wide, for small differences of large means count
template <typename S>
void sum_pixels(const S* frame, double* sums, int64_t first, int64_t last, int64_t begin, int64_t end, int64_t C) {
    std::fill(sums, sums + (end - begin), 0.0);
    for (; first < last; first += ROWS) {
        const int64_t rows = std::min(ROWS, last - first);
        const S* from = frame + first * C + begin;
        int64_t c = 0;
        for (; c + 4 * WIDE <= end - begin; c += 4 * WIDE) sum_rows<4, WIDE>(from + c, sums + c, rows, C);
        for_lanes(end - begin - c, [&](auto width, int64_t lane) {
            sum_rows<1, decltype(width)::value>(from + c + lane, sums + c + lane, rows, C);
        });
    }
}

// Means over the pixels of frames; where frames are fewer than threads, threads share one.
template <typename S>
class Pool {
  public:
    Pool(int64_t frames, int64_t pixels, int64_t channels, int threads)
        : frames(frames), pixels(pixels), channels(channels), blocks((channels + BLOCK - 1) / BLOCK),
          parts(std::max<int64_t>(1, std::min<int64_t>(threads / (frames * blocks), pixels / ROWS))),
          shared(parts > 1 ? frames * blocks * parts * BLOCK : 0) {}

    // pooled[n * stride + c]
    void run(const S* x, float* pooled, int64_t stride) {
        const int64_t rows = (pixels + parts - 1) / parts;
#pragma omp for collapse(3)
        for (int64_t n = 0; n < frames; ++n) {
            for (int64_t block = 0; block < blocks; ++block) {
                for (int64_t part = 0; part < parts; ++part) {
                    const int64_t begin = block * BLOCK, end = std::min(channels, begin + BLOCK);
                    const int64_t last = std::min(pixels, (part + 1) * rows);
                    double own[BLOCK];
                    double* sums = parts > 1 ? &shared[((n * blocks + block) * parts + part) * BLOCK] : own;
                    sum_pixels(x + n * pixels * channels, sums, part * rows, last, begin, end, channels);
                    if (parts == 1)
                        for (int64_t c = begin; c < end; ++c) pooled[n * stride + c] = float(sums[c - begin] / pixels);
                }
            }
        }
        if (parts == 1) return;
#pragma omp for collapse(2)
        for (int64_t n = 0; n < frames; ++n) {
            for (int64_t c = 0; c < channels; ++c) {
                double sum = 0;
                for (int64_t part = 0; part < parts; ++part)
                    sum += shared[((n * blocks + c / BLOCK) * parts + part) * BLOCK + c % BLOCK];
                pooled[n * stride + c] = float(sum / pixels);
            }
        }
    }

  private:
    int64_t frames, pixels, channels, blocks, parts;
    std::vector<double> shared;
};

// Pairs of neighboring frames: the pooled features of both, where their hidden ones go, and where their gate goes.
struct Pairs {
    std::vector<const float*> here, following;
    std::vector<float*> squeezed, gates;

    void add(const float* first, const float* second, float* hidden, float* gate) {
        here.push_back(first);
        following.push_back(second);
        squeezed.push_back(hidden);
        gates.push_back(gate);
    }
};

// out[n] = w . columns[n] for n below N
template <int N, typename W>
void dot(const W* w, const float* const* columns, int64_t length, float* out) {
    Floats<WIDE> sums[N] = {};
    int64_t k = 0;
    for (; k + WIDE <= length; k += WIDE) {
        const auto weight = load<WIDE>(w + k);
        for (int n = 0; n < N; ++n) sums[n] += weight * load<WIDE>(columns[n] + k);
    }
    for (int n = 0; n < N; ++n) {
        out[n] = sum_of<WIDE>(sums[n]);
        for (int64_t rest = k; rest < length; ++rest) out[n] += to_float(w[rest]) * columns[n][rest];
    }
}

template <typename W>
void dot_all(const W* w, const float* const* columns, int64_t count, int64_t length, float* out) {
    constexpr void (*OF[COLUMNS])(const W*, const float* const*, int64_t, float*) = {
        dot<1, W>, dot<2, W>, dot<3, W>, dot<4, W>, dot<5, W>, dot<6, W>, dot<7, W>, dot<8, W>};
    for (int64_t n = 0; n < count; n += COLUMNS)
        OF[std::min<int64_t>(COLUMNS, count - n) - 1](w, columns + n, length, out + n);
}

template <typename W>
struct Squeeze {
    const W *w1, *b1, *w2, *b2, *w3, *b3;
    int64_t channels, hidden;
    float offset;

    void gate(const Pairs& pairs) const {
        const int64_t count = pairs.here.size();
        std::vector<float> first(count), second(count);
#pragma omp for
        for (int64_t r = 0; r < hidden; ++r) {
            dot_all(w1 + r * channels, pairs.here.data(), count, channels, first.data());
            dot_all(w2 + r * channels, pairs.following.data(), count, channels, second.data());
            const float bias = to_float(b1[r]) - to_float(b2[r]);
            for (int64_t n = 0; n < count; ++n) pairs.squeezed[n][r] = first[n] - second[n] + bias;
        }
#pragma omp for
        for (int64_t c = 0; c < channels; ++c) {
            dot_all(w3 + c * hidden, pairs.squeezed.data(), count, hidden, first.data());
            const float bias = to_float(b3[c]);
            for (int64_t n = 0; n < count; ++n)
                pairs.gates[n][c] = 1.0f / (1.0f + std::exp(-(first[n] + bias))) + offset;
        }
    }
};
