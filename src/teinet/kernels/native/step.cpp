// One frame of each of N streams through a causal temporal module; kernels/step.py calls it.
//
// x, y, u1, u2: (N, P, C), channels last, P pixels of a frame; float or bfloat16, computed in float.
// v: (C, 3), on frames t-2, t-1, t.  g: (N, C) or null (ones).  u is the gated frame, u1 and u2 those before it:
//   u = g x      y = v0 u2 + v1 u1 + v2 u
// u is written over u2, which no later frame needs: memory that is in the cache just then, and none to be fetched first.

#include <algorithm>

#include "numbers.h"

namespace {

constexpr int64_t BLOCK = 1024;     // channels whose coefficients lie ready
constexpr int64_t SMALL = 1 << 15;  // values below which threads cost more than they bring

template <typename S>
void step(const S* x, const S* u1, S* u2, const float* v, const float* g, S* y, int64_t streams, int64_t pixels,
          int64_t C, int threads) {
    const int64_t rows = std::max<int64_t>(1, 16384 / C), tiles = (pixels + rows - 1) / rows;
#pragma omp parallel for collapse(2) num_threads(threads) if (threads > 1 && streams * pixels * C > SMALL)
    for (int64_t n = 0; n < streams; ++n) {
        for (int64_t tile = 0; tile < tiles; ++tile) {
            float taps[3][BLOCK], own[BLOCK];
            for (int64_t first = 0; first < C; first += BLOCK) {
                const int64_t count = std::min(BLOCK, C - first);
                for (int64_t c = 0; c < count; ++c) {
                    own[c] = g ? g[n * C + first + c] : 1.0f;
                    for (int64_t i = 0; i < 3; ++i) taps[i][c] = v[3 * (first + c) + i];
                }
                const int64_t end = std::min(pixels, (tile + 1) * rows);
                for (int64_t p = tile * rows; p < end; ++p) {
                    const int64_t at = (n * pixels + p) * C + first;
#pragma omp simd
                    for (int64_t c = 0; c < count; ++c) {
                        const float gated = own[c] * to_float(x[at + c]);
                        const float mixed = taps[2][c] * gated + taps[1][c] * to_float(u1[at + c]) +
                                            taps[0][c] * to_float(u2[at + c]);
                        store(u2[at + c], gated);
                        store(y[at + c], mixed);
                    }
                }
            }
        }
    }
}

}  // namespace

#define TEINET_STEP(NAME, TYPE)                                                                                       \
    extern "C" void step_##NAME(const void* x, const void* u1, void* u2, const float* v, const float* g, void* y,     \
                                int64_t streams, int64_t pixels, int64_t channels, int threads) {                     \
        step((const TYPE*)x, (const TYPE*)u1, (TYPE*)u2, v, g, (TYPE*)y, streams, pixels, channels, threads);         \
    }

TEINET_STEP(float32, float)
TEINET_STEP(bfloat16, bf16)
