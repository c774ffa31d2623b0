#version 330
// People, colour times coverage, to be laid over the still world.
uniform sampler2D layer;
out vec4 colour;
void main() {
    colour = texelFetch(layer, ivec2(gl_FragCoord.xy), 1);
}
