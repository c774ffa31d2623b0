"""Draws a job folder in Blender; run by Blender's Python, never imported by us.

`python blender_script.py FOLDER` where the module `bpy` is installed, else
`blender --background --python blender_script.py -- FOLDER`. `renderers.blender` writes the folder.
Needs nothing of this package, and the package needs nothing of Blender but its pictures.

Our world (x, y up, z) is Blender's (y, z up, x): with this cyclic order a latitude-longitude map
of the OpenEXR convention lies as Blender expects it. Textures keep their first row at v = 0.
"""

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

DEBIAN_PACKAGES = "libx11-6 libxrender1 libxfixes3 libxi6 libxkbcommon0 libsm6 libgl1"
try:
    bpy: Any = importlib.import_module("bpy")
except ImportError as error:
    sys.exit(f"Blender does not start: {error}; on Debian: apt-get install {DEBIAN_PACKAGES}")
BLENDER_FROM_WORLD = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
SUN_ANGLE_DEG = 1.0
SENSOR_MM = 36.0
NEAR_SHADE_M = 2.0
"""After a bounce only what is nearer than this keeps the ambient light away."""
HAZE_FROM_M = 12.0
"""As in light.frag.glsl."""


def main(folder: Path) -> None:
    """Write `frame_0000.exr` ... and `plate_0000.exr` ..., linear RGB, each once."""
    if bpy.app.version < (4, 5):
        sys.exit(f"Blender 4.5 or newer is needed, this is {bpy.app.version_string}")
    job = json.loads((folder / "job.json").read_text())
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    _set_engine(scene, job)
    _add_world(scene, folder, job)
    if not job["is_truth"]:
        _add_sun(scene, job)
    scene.camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    scene.collection.objects.link(scene.camera)
    objects = [_add_part(scene, folder, part, job) for part in job["parts"]]
    people = [o for o, part in zip(objects, job["parts"], strict=True) if part["person"]]
    for name, count in (("frame", job["num_frames"]), ("plate", job["num_plates"])):
        for person in people:
            person.hide_render = name == "plate"
        for frame in range(count):
            if os.getppid() != job["parent"]:
                sys.exit("the program that asked for the pictures is gone")
            _set_camera(scene, job, frame)
            for person in people if name == "frame" else []:
                _pose(person.data, folder / person.name, frame)
            scene.cycles.seed = job["seed"] + frame  # a frame and its plate share their noise
            scene.render.filepath = str(folder / f"{name}_{frame:04d}.exr")
            bpy.ops.render.render(write_still=True)


def _set_engine(scene: Any, job: dict[str, Any]) -> None:
    scene.render.engine = job["engine"]
    scene.render.resolution_x, scene.render.resolution_y = job["width"], job["height"]
    scene.render.threads_mode, scene.render.threads = "FIXED", job["threads"]
    scene.render.use_persistent_data = True
    scene.render.image_settings.file_format = "OPEN_EXR"
    scene.render.image_settings.color_mode = "RGB"
    scene.render.image_settings.color_depth = "32" if job["is_truth"] else "16"
    scene.render.image_settings.exr_codec = "NONE"
    scene.eevee.taa_render_samples = job["samples"]
    cycles = scene.cycles
    cycles.device = "CPU"
    cycles.samples = job["samples"]
    cycles.use_adaptive_sampling = False
    cycles.use_light_tree = False  # one sun and one sky
    cycles.max_bounces, cycles.diffuse_bounces, cycles.glossy_bounces = 3, 2, 1
    cycles.transparent_max_bounces = 32  # sheets of cut-out hair behind each other
    cycles.sample_clamp_indirect = 4.0
    # what light meets after a bounce is lit as in the OpenGL pass: a third cheaper, and not darker
    cycles.use_fast_gi, cycles.fast_gi_method, cycles.ao_bounces_render = True, "REPLACE", 1
    cycles.use_denoising = not job["is_truth"]
    cycles.denoising_quality = cycles.denoising_prefilter = "FAST"
    # the pixel's own square, as the mean of 2 x 2; or its middle alone
    cycles.pixel_filter_type = "GAUSSIAN" if job["is_truth"] else "BOX"
    cycles.filter_width = 0.01


def _add_world(scene: Any, folder: Path, job: dict[str, Any]) -> None:
    scene.world = bpy.data.worlds.new("world")
    scene.world.light_settings.distance = NEAR_SHADE_M
    nodes = _Nodes(scene.world)
    if job["is_truth"]:
        nodes.add("OutputWorld", nodes.add("Background", (0.0, 0.0, 0.0, 1.0)).outputs[0])
        return
    seen, felt = (
        nodes.add(
            "TexEnvironment",
            image=_image(name, np.load(folder / f"{name}.npy", allow_pickle=False)[::-1]),
        )
        for name in ("panorama", "ambient")
    )
    # through the windows of a room one sees the sky, yet its walls and lamps light it; a
    # photographed sun is in the panorama, and in the scene as a sun of its own
    is_seen = nodes.add("LightPath").outputs["Is Camera Ray"]
    parts = [
        nodes.add("Background", texture.outputs["Color"]).outputs[0] for texture in (felt, seen)
    ]
    nodes.add("OutputWorld", nodes.add("MixShader", is_seen, *parts).outputs[0])


def _add_sun(scene: Any, job: dict[str, Any]) -> None:
    sun_rgb = np.array(job["sun_rgb"])
    light = bpy.data.lights.new("sun", "SUN")
    light.angle = np.radians(SUN_ANGLE_DEG)
    light.energy = np.pi * sun_rgb.max()  # a white Lambert surface facing it then shows sun_rgb
    light.color = sun_rgb / max(sun_rgb.max(), 1e-9)
    sun = bpy.data.objects.new("sun", light)
    sun.matrix_world = _matrix(_looking_along(-np.array(job["sun_direction"])), np.zeros(3))
    scene.collection.objects.link(sun)


def _looking_along(forward: np.ndarray) -> np.ndarray:
    """Some rotation whose -z axis is `forward`."""
    side = np.cross(forward, np.eye(3)[np.abs(forward).argmin()])
    side /= np.linalg.norm(side)
    return np.stack([side, np.cross(-forward, side), -forward], axis=1)


def _matrix(R_world_object: np.ndarray, p_world: np.ndarray) -> list[list[float]]:
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = BLENDER_FROM_WORLD @ R_world_object, BLENDER_FROM_WORLD @ p_world
    return T.T.tolist()  # Blender takes nested lists as columns


def _set_camera(scene: Any, job: dict[str, Any], frame: int) -> None:
    K, T_camera_world = np.array(job["K"][frame]), np.array(job["T_camera_world"][frame])
    R, t = T_camera_world[:3, :3], T_camera_world[:3, 3]
    scene.camera.matrix_world = _matrix(R.T @ np.diag([1.0, -1.0, -1.0]), -R.T @ t)
    lens, width, height = scene.camera.data, job["width"], job["height"]
    taller = K[0, 0] / K[1, 1]  # height of a pixel, its width being 1
    scene.render.pixel_aspect_x, scene.render.pixel_aspect_y = max(1.0, 1 / taller), max(1, taller)
    lens.sensor_fit, lens.sensor_width = "HORIZONTAL", SENSOR_MM
    lens.lens = K[0, 0] * SENSOR_MM / width
    lens.shift_x = 0.5 - K[0, 2] / width
    lens.shift_y = (K[1, 2] - 0.5 * height) * taller / width
    lens.clip_start, lens.clip_end = job["near_m"], job["far_m"]


def _image(name: str, rows: np.ndarray) -> Any:
    """A picture whose first row lies at v = 0 and whose values are used as they are."""
    height, width, channels = rows.shape
    is_float = rows.dtype != np.uint8
    image = bpy.data.images.new(name, width, height, alpha=True, float_buffer=is_float)
    image.colorspace_settings.name = "Non-Color"
    image.alpha_mode = "CHANNEL_PACKED"
    rgba = np.ones((height, width, 4), np.float32)
    rgba[..., :channels] = rows if is_float else rows / np.float32(255.0)
    image.pixels.foreach_set(rgba.ravel())
    image.pack()
    return image


def _add_part(scene: Any, folder: Path, part: dict[str, Any], job: dict[str, Any]) -> Any:
    files = folder / part["name"]
    uv, tint, faces, texture = (
        np.load(files / f"{which}.npy", allow_pickle=False)
        for which in ("uv", "tint", "faces", "texture")
    )
    mesh = bpy.data.meshes.new(part["name"])
    mesh.from_pydata(np.zeros((len(uv), 3)), [], faces, shade_flat=False)
    layer = mesh.uv_layers.new(name="uv")
    layer.data.foreach_set("uv", uv[faces].astype(np.float32).ravel())
    tints = mesh.attributes.new("tint", "FLOAT_VECTOR", "POINT")
    tints.data.foreach_set("vector", tint.astype(np.float32).ravel())
    mesh.attributes.new("custom_normal", "FLOAT_VECTOR", "POINT")
    _pose(mesh, files, 0)
    mesh.materials.append(_material(part, texture, job))
    placed = bpy.data.objects.new(part["name"], mesh)
    # the walls of a room let its light in, which is that of the walls
    placed.visible_shadow = placed.visible_diffuse = part["casts_shadow"]
    scene.collection.objects.link(placed)
    return placed


def _pose(mesh: Any, files: Path, frame: int) -> None:
    for name, values in (
        ("vertices", mesh.vertices),
        ("normals", mesh.attributes["custom_normal"].data),
    ):
        moving = np.load(files / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        field = "co" if name == "vertices" else "vector"
        world = moving[min(frame, len(moving) - 1)] @ BLENDER_FROM_WORLD.T
        values.foreach_set(field, world.astype(np.float32).ravel())
    mesh.update()


class _Nodes:
    """Short hand for shader graphs."""

    def __init__(self, owner: Any) -> None:
        owner.use_nodes = True
        self.tree = owner.node_tree
        self.tree.nodes.clear()

    def add(self, kind: str, *inputs: Any, **settings: Any) -> Any:
        """A node with its inputs in order: outputs of other nodes, values, or None to leave."""
        node = self.tree.nodes.new(f"ShaderNode{kind}")
        for name, value in settings.items():
            setattr(node, name, value)
        for socket, value in zip(node.inputs, inputs, strict=False):
            if hasattr(value, "is_linked"):
                self.tree.links.new(value, socket)
            elif value is not None:
                socket.default_value = value
        return node

    def maths(self, operation: str, *inputs: Any) -> Any:
        return self.add("Math", *inputs, operation=operation).outputs[0]


def _material(part: dict[str, Any], texture: np.ndarray, job: dict[str, Any]) -> Any:
    material = bpy.data.materials.new(part["name"])
    nodes = _Nodes(material)
    material.cycles.emission_sampling = "NONE"  # haze is seen, it lights nothing
    image = _image(part["name"], texture)
    uv = nodes.add("UVMap", uv_map="uv").outputs["UV"]
    texel = nodes.add("TexImage", uv, image=image)
    surface = _truth(nodes, part) if job["is_truth"] else _look(nodes, part, texel, uv, job)
    if part["is_cutout"]:
        is_solid = nodes.maths("GREATER_THAN", texel.outputs["Alpha"], 127.5 / 255.0)
        nothing = nodes.add("BsdfTransparent").outputs[0]
        surface = nodes.add("MixShader", is_solid, nothing, surface).outputs[0]
    nodes.add("OutputMaterial", surface)
    return material


def _truth(nodes: _Nodes, part: dict[str, Any]) -> Any:
    """Number of the person, depth along the axis, and height of the normal in [0, 1], as light."""
    depth = nodes.add("CameraData").outputs["View Z Depth"]
    normal = nodes.add("SeparateXYZ", nodes.add("NewGeometry").outputs["Normal"]).outputs["Z"]
    up = nodes.maths("MULTIPLY_ADD", normal, 0.5, 0.5)
    coded = nodes.add("CombineXYZ", float(part["person"]), depth, up).outputs[0]
    return nodes.add("Emission", coded).outputs[0]


def _look(nodes: _Nodes, part: dict[str, Any], texel: Any, uv: Any, job: dict[str, Any]) -> Any:
    colour = nodes.add("Gamma", texel.outputs["Color"], 2.2).outputs[0]
    tint = nodes.add("Attribute", attribute_name="tint").outputs["Vector"]
    colour = nodes.add("VectorMath", colour, tint, operation="MULTIPLY").outputs[0]
    if part["variation"] > 0.0:
        colour = _varied(nodes, part["variation"], colour, texel.image, uv)
    body = nodes.add("BsdfPrincipled", colour)
    body.inputs["Roughness"].default_value = 0.6 if part["gloss"] else 1.0
    body.inputs["Specular IOR Level"].default_value = part["gloss"]
    body.inputs["Emission Strength"].default_value = part["emission"]
    nodes.tree.links.new(colour, body.inputs["Emission Color"])
    distance = nodes.add("CameraData").outputs["View Distance"]
    beyond = nodes.maths("MAXIMUM", nodes.maths("SUBTRACT", distance, HAZE_FROM_M), 0.0)
    clear = nodes.maths("EXPONENT", nodes.maths("MULTIPLY", beyond, -job["haze_per_m"]))
    is_seen = nodes.add("LightPath").outputs["Is Camera Ray"]
    haze = nodes.maths("MULTIPLY", nodes.maths("SUBTRACT", 1.0, clear), is_seen)
    glow = nodes.add("Emission", (*job["haze_rgb"], 1.0)).outputs[0]
    return nodes.add("MixShader", haze, body.outputs[0], glow).outputs[0]


def _varied(nodes: _Nodes, strength: float, colour: Any, image: Any, uv: Any) -> Any:
    """The slow change of brightness of a tiled ground, as in surface.frag.glsl."""
    parts = nodes.add("SeparateXYZ", uv).outputs
    turned = nodes.add("CombineXYZ", parts["Y"], parts["X"]).outputs[0]
    values = []
    for place, scale, channel in ((uv, 0.137, "Green"), (turned, 0.071, "Red")):
        scaled = nodes.add("VectorMath", place, operation="SCALE")
        scaled.inputs["Scale"].default_value = scale
        wide = nodes.add("TexImage", scaled.outputs[0], image=image).outputs["Color"]
        values.append(nodes.add("SeparateColor", wide).outputs[channel])
    slow = nodes.maths("MULTIPLY_ADD", nodes.maths("SUBTRACT", *values), strength, 1.0)
    brighter = nodes.add("VectorMath", colour, operation="SCALE")
    nodes.tree.links.new(slow, brighter.inputs["Scale"])
    return brighter.outputs[0]


if __name__ == "__main__":
    main(Path(sys.argv[-1]))
