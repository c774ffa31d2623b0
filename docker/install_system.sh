#!/usr/bin/env bash
# System libraries of the renderer (OpenGL through EGL) and of OpenCV. Installs them where it may,
# and says in one line what is missing where it may not.
set -euo pipefail

packages=(libegl1 libgl1-mesa-dri libgles2 libgl1 libegl-mesa0 libgbm1 libglib2.0-0)
if ! command -v dpkg-query >/dev/null; then
  echo "isa4d: not a Debian system; the renderer needs Mesa's EGL and OpenGL software drivers (llvmpipe)"
  exit 0
fi
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q "install ok installed" || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
  exit 0
elif [ "$(id -u)" -eq 0 ]; then
  echo "isa4d: installing ${missing[*]}"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
else
  echo "isa4d: missing system libraries; run: sudo apt-get install -y ${missing[*]}"
fi
