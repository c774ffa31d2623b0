#version 330
// World-space surface; T_clip_world maps OpenCV camera rows straight to image rows (row 0 = top).
uniform mat4 T_clip_world;
in vec3 in_position;
in vec3 in_normal;
in vec2 in_uv;
in vec3 in_root_tint;
out vec3 v_position;
out vec3 v_normal;
out vec2 v_uv;
out vec3 v_root_tint;
void main() {
    v_position = in_position;
    v_normal = in_normal;
    v_uv = in_uv;
    v_root_tint = in_root_tint;
    gl_Position = T_clip_world * vec4(in_position, 1.0);
}
