#version 330
// Latitude-longitude map of the OpenEXR convention: centre column is +z, a quarter to its left +x, top row +y.
uniform sampler2D panorama;
uniform float exposure;
in vec3 v_ray;
layout(location = 0) out vec4 colour;
layout(location = 1) out vec4 plate;
const float PI = 3.14159265358979;
void main() {
    vec3 d = normalize(v_ray);
    vec2 uv = vec2(0.5 - atan(d.x, d.z) / (2.0 * PI), acos(clamp(d.y, -1.0, 1.0)) / PI);
    vec3 x = exposure * textureLod(panorama, uv, 0.0).rgb;
    x = clamp((x * (2.51 * x + 0.03)) / (x * (2.43 * x + 0.59) + 0.14), 0.0, 1.0);
    colour = vec4(pow(x, vec3(1.0 / 2.2)), 1.0);
    plate = colour;
}
