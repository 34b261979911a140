"""Assets and descriptors, on Android's own classes as Robolectric runs them."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from albert_edge.files import embedded_model
from rigs.app import ANDROIDS, APP, ROBOLECTRIC
from rigs.install import SHORT_JVM, call

PROGRAM = Path(__file__).with_name("AssetsTest.java")
MODEL = embedded_model() / "model.tflite"


@pytest.fixture(scope="module")
def class_path(tmp_path_factory) -> str:
    """The compiled test, an APK with assets of its own, and what both need."""
    for rig in (APP, ROBOLECTRIC):
        rig.require()
    folder = tmp_path_factory.mktemp("assets")
    _pack(folder / "assets.apk")
    settings = folder / "com/android/tools/test_config.properties"
    settings.parent.mkdir(parents=True)
    settings.write_text(
        f"android_resource_apk={folder}/assets.apk\n"
        f"android_merged_manifest={APP.path}/manifest/AndroidManifest.xml\n"
        "android_custom_package=org.albertedge.demo\n"
    )
    jars = (APP.path / "classpath").read_text().splitlines()
    own = [APP.path / name for name in ("classes", "library.jar", "tflite.jar")]
    found = ":".join(map(str, [folder, *own, ROBOLECTRIC.path / "androidx", *jars]))
    call("javac", "-d", folder, "-cp", found, PROGRAM)
    return found


def _pack(apk: Path) -> None:
    content = MODEL.read_bytes()
    with (
        zipfile.ZipFile(APP.path / "resources.ap_") as resources,
        zipfile.ZipFile(apk, "w") as made,
    ):
        for info in resources.infolist():
            if not info.filename.startswith("assets/"):
                made.writestr(info, resources.read(info))
        made.writestr("assets/stored.tflite", content)
        made.writestr("assets/cut.tflite", content[: len(content) // 2])
        made.writestr("assets/compressed.tflite", content, zipfile.ZIP_DEFLATED)


def test_assets_and_descriptors(class_path):
    opened = (f"--add-opens=java.base/java.{name}=ALL-UNNAMED" for name in ("lang", "io", "nio"))
    options = [
        *SHORT_JVM,
        *opened,
        "-Drobolectric.offline=true",
        f"-Drobolectric.dependency.dir={ROBOLECTRIC.path}",
        f"-Dmodel={MODEL}",
    ]
    # Without a native library, one JVM is enough for all Androids.
    printed = call("java", *options, "-cp", class_path, "org.junit.runner.JUnitCore", "AssetsTest")
    assert f"OK ({5 * len(ANDROIDS)} tests)" in printed
