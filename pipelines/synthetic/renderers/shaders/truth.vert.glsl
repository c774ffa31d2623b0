#version 330
// Where a surface point is in this frame, the next and the previous one.
uniform mat4 T_clip_world;
uniform mat4 T_after_world;
uniform mat4 T_before_world;
in vec3 in_position;
in vec3 in_normal;
in vec3 in_after;
in vec3 in_before;
out vec3 v_normal;
out float v_depth_m;
out vec3 v_after;
out vec3 v_before;
#ifdef CUTOUT
in vec2 in_uv;
out vec2 v_uv;
#endif
void main() {
#ifdef CUTOUT
    v_uv = in_uv;
#endif
    v_normal = in_normal;
    gl_Position = T_clip_world * vec4(in_position, 1.0);
    v_depth_m = gl_Position.w;  // the projection keeps the camera's z here
    v_after = (T_after_world * vec4(in_after, 1.0)).xyw;
    v_before = (T_before_world * vec4(in_before, 1.0)).xyw;
}
