# Training and generation on NVIDIA GPUs; the CUDA libraries come with torch, the driver with the host.
# docker build -f docker/gpu.Dockerfile -t isa4d:gpu . && docker run --rm --gpus all isa4d:gpu isa4d doctor
FROM python:3.11-slim-bookworm

RUN apt-get update && apt-get install -y --no-install-recommends \
      libegl1 libgl1-mesa-dri libgles2 libgl1 libegl-mesa0 libgbm1 libglib2.0-0 gcc g++ git \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /isa4d
COPY requirements.txt ./
RUN pip install --no-cache-dir uv \
    && SAM2_BUILD_CUDA=0 uv pip install --system --no-cache --require-hashes -r requirements.txt
COPY . .
RUN uv pip install --system --no-cache --no-deps --no-build-isolation -e .

# torch.compile writes its kernels below the home folder of the user that runs.
ENV OMP_NUM_THREADS=1 WDS_SECURE=1 PYTHONUNBUFFERED=1 \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility,graphics,video
RUN useradd --create-home isa4d && chown -R isa4d /isa4d
USER isa4d
CMD ["isa4d", "doctor"]
