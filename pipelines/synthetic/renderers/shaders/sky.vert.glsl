#version 330
// One triangle over the image; v_ray is the world direction through the pixel.
uniform mat3 R_world_ndc;
in vec2 in_ndc;
out vec3 v_ray;
void main() {
    v_ray = R_world_ndc * vec3(in_ndc, 1.0);
    gl_Position = vec4(in_ndc, 0.999999, 1.0);
}
