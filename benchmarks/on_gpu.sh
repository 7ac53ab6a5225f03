#!/bin/sh
# Everything that needs a CUDA GPU, in some minutes: sh benchmarks/on_gpu.sh FOLDER
# Writes into FOLDER the tests' output, and the results of the operators alone and of whole networks as JSON.
mkdir -p "$1"
python -m pytest -q -p no:cacheprovider tests/kernels/test_triton.py > "$1/test_triton.txt" 2>&1
tail -n 3 "$1/test_triton.txt"
python -m benchmarks.kernels --types fp32 bf16 --clips 1 64 --output "$1"
python -m benchmarks.networks gpu --rounds 5 --repeats 1 --output "$1"
