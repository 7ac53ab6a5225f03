// The gated temporal convolution on a CPU, one pass over memory each way; teinet.kernels.cpu compiles and calls it.
//
// x, y, dy, dx: (B, T, P, C), channels last, P pixels of a frame; float or bfloat16, computed in float.
// v: (C, 3) or null (no neighbours: 0, 1, 0).  g: (B, T, C) or null (ones).
//
// A clip is cut into tiles of some rows (pixels) over all frames, so that a frame is still in the cache when its
// neighbours in time need it. Every result is independent of the number of threads.

#include <algorithm>

#include "numbers.h"

namespace {

constexpr int64_t BLOCK = 2048;       // channels whose coefficients lie ready
constexpr int64_t LANES = 32;         // channels whose sums stay in registers
constexpr int64_t TILE = 16384;       // values of a frame in a tile: four frames of them fit a core's cache
constexpr int64_t SMALL = 1 << 15;    // values below which threads cost more than they bring

struct Shape {
    int64_t clips, frames, pixels, channels;
    int64_t rows() const { return std::max<int64_t>(1, std::min(pixels, TILE / channels)); }
    int64_t size() const { return clips * frames * pixels * channels; }
};

// out[p, c] = before[c] * (x - stride)[p, c] + here[c] * x[p, c] + after[c] * (x + stride)[p, c]
template <bool BEFORE, bool AFTER, typename S>
void mix(const S* x, S* out, const float* before, const float* here, const float* after, int64_t rows, int64_t count,
         int64_t channels, int64_t stride) {
    for (int64_t p = 0; p < rows; ++p) {
        const S* from = x + p * channels;
        S* to = out + p * channels;
#pragma omp simd
        for (int64_t c = 0; c < count; ++c) {
            float sum = here[c] * to_float(from[c]);
            if (BEFORE) sum += before[c] * to_float(from[c - stride]);
            if (AFTER) sum += after[c] * to_float(from[c + stride]);
            store(to[c], sum);
        }
    }
}

// One tile of one clip: out_t = sum over i of (tap i times gate) * in_{t+i}. Forwards the gate is that of the frame
// read, t+i; backwards (the transpose) that of the frame written, t, and the taps are reversed.
template <typename S>
void convolve_tile(const S* in, S* out, const float* v, const float* g, const Shape& shape, int64_t rows,
                   bool transpose) {
    const int64_t C = shape.channels, T = shape.frames, stride = shape.pixels * C;
    float before[BLOCK], here[BLOCK], after[BLOCK];
    for (int64_t t = 0; t < T; ++t) {
        for (int64_t first = 0; first < C; first += BLOCK) {
            const int64_t count = std::min(BLOCK, C - first);
            const float* gate = g ? g + t * C + first : nullptr;
            for (int64_t c = 0; c < count; ++c) {
                const float* tap = v ? v + 3 * (first + c) : nullptr;
                const float own = gate ? gate[c] : 1.0f;
                here[c] = own * (tap ? tap[1] : 1.0f);
                if (!tap) continue;
                before[c] = transpose ? own * tap[2] : (gate && t > 0 ? gate[c - C] : 1.0f) * tap[0];
                after[c] = transpose ? own * tap[0] : (gate && t + 1 < T ? gate[c + C] : 1.0f) * tap[2];
            }
            const S* x = in + t * stride + first;
            S* y = out + t * stride + first;
            const bool has_before = v && t > 0, has_after = v && t + 1 < T;
            auto run = has_before ? (has_after ? mix<true, true, S> : mix<true, false, S>)
                                  : (has_after ? mix<false, true, S> : mix<false, false, S>);
            run(x, y, before, here, after, rows, count, C, stride);
        }
    }
}

template <typename S>
void forward(const S* x, const float* v, const float* g, S* y, const Shape& shape, int threads) {
    const int64_t rows = shape.rows(), tiles = (shape.pixels + rows - 1) / rows;
    const int64_t clip = shape.frames * shape.pixels * shape.channels;
#pragma omp parallel for collapse(2) num_threads(threads) if (threads > 1 && shape.size() > SMALL)
    for (int64_t b = 0; b < shape.clips; ++b) {
        for (int64_t tile = 0; tile < tiles; ++tile) {
            const int64_t first = tile * rows, at = b * clip + first * shape.channels;
            convolve_tile(x + at, y + at, v, g ? g + b * shape.frames * shape.channels : nullptr, shape,
                          std::min(rows, shape.pixels - first), false);
        }
    }
}

// sums[i][c] += sum over rows of x_{t+i}[p, c] * dy_t[p, c], for a full block of LANES channels or what is left
template <bool BEFORE, bool AFTER, bool FULL, typename S>
void correlate(const S* x, const S* dy, float* sums, int64_t rows, int64_t count, int64_t channels, int64_t stride) {
    float left[LANES] = {}, middle[LANES] = {}, right[LANES] = {};
    const int64_t width = FULL ? LANES : count;
    for (int64_t p = 0; p < rows; ++p) {
        const S* here = x + p * channels;
        const S* grad = dy + p * channels;
#pragma omp simd
        for (int64_t c = 0; c < width; ++c) {
            const float d = to_float(grad[c]);
            middle[c] += d * to_float(here[c]);
            if (BEFORE) left[c] += d * to_float(here[c - stride]);
            if (AFTER) right[c] += d * to_float(here[c + stride]);
        }
    }
    for (int64_t c = 0; c < width; ++c) {
        sums[c] += left[c];
        sums[channels + c] += middle[c];
        sums[2 * channels + c] += right[c];
    }
}

template <bool BEFORE, bool AFTER, typename S>
void correlate_all(const S* x, const S* dy, float* sums, int64_t rows, int64_t C, int64_t stride) {
    int64_t first = 0;
    for (; first + LANES <= C; first += LANES)
        correlate<BEFORE, AFTER, true, S>(x + first, dy + first, sums + first, rows, LANES, C, stride);
    if (first < C)
        correlate<BEFORE, AFTER, false, S>(x + first, dy + first, sums + first, rows, C - first, C, stride);
}

// dx, and sums[b, chunk, t, i, c] = sum over the chunk's pixels of x_{t+i} * dy_t, from which the gradients of taps and
// gates follow. Either may be null.
template <typename S>
void backward(const S* dy, const S* x, const float* v, const float* g, S* dx, float* sums, const Shape& shape,
              int64_t chunks, int threads) {
    const int64_t C = shape.channels, T = shape.frames, stride = shape.pixels * C, rows = shape.rows();
    const int64_t length = (shape.pixels + chunks - 1) / chunks;
#pragma omp parallel for collapse(2) num_threads(threads) if (threads > 1 && shape.size() > SMALL)
    for (int64_t b = 0; b < shape.clips; ++b) {
        for (int64_t chunk = 0; chunk < chunks; ++chunk) {
            const int64_t end = std::min(shape.pixels, (chunk + 1) * length);
            float* mine = sums ? sums + (b * chunks + chunk) * T * 3 * C : nullptr;
            if (mine) std::fill(mine, mine + T * 3 * C, 0.0f);
            for (int64_t first = chunk * length; first < end; first += rows) {
                const int64_t count = std::min(rows, end - first), at = b * T * stride + first * C;
                if (dx) convolve_tile(dy + at, dx + at, v, g ? g + b * T * C : nullptr, shape, count, true);
                if (!mine) continue;
                for (int64_t t = 0; t < T; ++t) {
                    const bool has_before = v && t > 0, has_after = v && t + 1 < T;
                    auto run = has_before ? (has_after ? correlate_all<true, true, S> : correlate_all<true, false, S>)
                                          : (has_after ? correlate_all<false, true, S> : correlate_all<false, false, S>);
                    run(x + at + t * stride, dy + at + t * stride, mine + t * 3 * C, count, C, stride);
                }
            }
        }
    }
}

}  // namespace

#define TEINET_ENTRIES(NAME, TYPE)                                                                                    \
    extern "C" void forward_##NAME(const void* x, const float* v, const float* g, void* y, int64_t clips,            \
                                   int64_t frames, int64_t pixels, int64_t channels, int threads) {                  \
        forward((const TYPE*)x, v, g, (TYPE*)y, Shape{clips, frames, pixels, channels}, threads);                    \
    }                                                                                                                 \
    extern "C" void backward_##NAME(const void* dy, const void* x, const float* v, const float* g, void* dx,         \
                                    float* sums, int64_t clips, int64_t frames, int64_t pixels, int64_t channels,    \
                                    int64_t chunks, int threads) {                                                    \
        backward((const TYPE*)dy, (const TYPE*)x, v, g, (TYPE*)dx, sums, Shape{clips, frames, pixels, channels},      \
                 chunks, threads);                                                                                    \
    }

TEINET_ENTRIES(float32, float)
TEINET_ENTRIES(bfloat16, bf16)
