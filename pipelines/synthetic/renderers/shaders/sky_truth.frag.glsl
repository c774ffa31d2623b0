#version 330
// What is infinitely far moves with the camera's rotation alone.
uniform mat3 R_after_world;
uniform mat3 R_before_world;
in vec3 v_ray;
layout(location = 0) out ivec4 normal_instance;
layout(location = 1) out ivec4 flow;
layout(location = 2) out vec4 depth;
#include flow.glsl
void main() {
    vec3 after = R_after_world * v_ray, before = R_before_world * v_ray;
    normal_instance = ivec4(0);
    flow = ivec4(flow_steps(after), flow_steps(before));
    depth = vec4(0.0, after.z > 0.0 ? 0.0 : -1.0, before.z > 0.0 ? 0.0 : -1.0, 0.0);
}
