"""The demo app: its APK, and its tests in a JVM, on Robolectric's Androids.

    python -m tests.rigs install android kotlin robolectric app
    python -m tests.rigs.app                     # copies what was built to android_demo/target

It takes the programs of `android_project.APP_TOOLS`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import zipfile
from pathlib import Path

from .android_project import APP_TOOLS, PROJECT, MavenRig, built, version_of
from .gpu_delegate import environment
from .install import SHORT_JVM, Rig, maven_archives
from .kotlin import KOTLIN, android_options

# Android's classes as Robolectric 4.16 takes them, by SDK level.
ANDROIDS = {
    23: "6.0.1_r3-robolectric-r1-i7",
    30: "11-robolectric-6757853-i7",
    35: "15-robolectric-13954326-i7",
}
# Robolectric takes these from androidx: AARs, which Maven puts on no class path.
_ANDROIDX = ("androidx.test:monitor:1.8.0:aar", "androidx.tracing:tracing:1.1.0:aar")


def _build_robolectric(folder: Path) -> None:
    androids = [f"org.robolectric:android-all-instrumented:{v}" for v in ANDROIDS.values()]
    for archive in maven_archives(folder, *androids, *_ANDROIDX)[len(androids) :]:
        with zipfile.ZipFile(archive) as aar, zipfile.ZipFile(aar.open("classes.jar")) as classes:
            classes.extractall(folder / "androidx")
        archive.unlink()


def _build_app(folder: Path) -> None:
    with built("app"):
        _copy_app(folder)
    # Where Robolectric looks for the resources.
    settings = folder / "config/com/android/tools/test_config.properties"
    settings.parent.mkdir(parents=True)
    settings.write_text(
        f"android_resource_apk={folder}/resources.ap_\n"
        f"android_merged_manifest={folder}/manifest/AndroidManifest.xml\n"
        "android_custom_package=org.albertedge.demo\n"
    )


def _copy_app(folder: Path) -> None:
    target = PROJECT / "app/target"
    shutil.copy(*target.glob("*.apk"), folder / "app.apk")
    for name in ("manifest", "classes", "test-classes"):
        shutil.copytree(target / name, folder / name)
    shutil.copy(target / "resources.ap_", folder)
    jars = (target / "classpath.txt").read_text().strip().split(":")
    kept = [jar for jar in jars if not Path(jar).is_relative_to(PROJECT)]
    for module in ("tflite", "library"):
        (jar,) = set((PROJECT / module / "target").glob("*-[0-9]*.jar"))
        shutil.copy(jar, folder / f"{module}.jar")
    (folder / "classpath").write_text("\n".join(kept))


ROBOLECTRIC = Rig(
    name="robolectric",
    what="Android 6, 11 and 15 as Robolectric runs them in a JVM",
    build=_build_robolectric,
)
APP = MavenRig(
    name="app",
    what=f"the demo app, built by `make android` ({APP_TOOLS}),",
    build=_build_app,
    version=version_of("app"),
)


def run_tests(name: str, sdk: int, **properties: Path) -> subprocess.CompletedProcess[str]:
    """Run a test class of the app on one Android, with Android's own TensorFlow Lite and a GPU.

    A native library loads into one class loader only, and each Android has its own: so a JVM each.
    """
    opened = ("lang", "io", "nio")
    options = [
        *SHORT_JVM,
        *android_options(gpu=True, opencl=True),
        *(f"--add-opens=java.base/java.{package}=ALL-UNNAMED" for package in opened),
        "-Drobolectric.offline=true",
        f"-Drobolectric.dependency.dir={ROBOLECTRIC.path}",
        f"-Drobolectric.enabledSdks={sdk}",
        *(f"-D{key}={path}" for key, path in properties.items()),
    ]
    jars = (APP.path / "classpath").read_text().splitlines()
    own = ("config", "test-classes", "classes", "library.jar", "tflite.jar")
    path = [*(APP.path / each for each in own), ROBOLECTRIC.path / "androidx", *jars]
    command = ["java", "-Xmx2g", *options, "-cp", ":".join(map(str, path))]
    command += ["org.junit.runner.JUnitCore", name]
    env = os.environ | environment("mali", precision_loss=False)
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def copy_products(folder: Path) -> list[Path]:
    """Copy the app and the library to a folder; return the copies."""
    folder.mkdir(exist_ok=True)
    (aar,) = KOTLIN.path.glob("*.aar")
    products = {APP.path / "app.apk": "albert-edge-demo.apk", aar: "albert-edge.aar"}
    return [Path(shutil.copy(path, folder / name)) for path, name in products.items()]


if __name__ == "__main__":
    for product in copy_products(PROJECT / "target"):
        print(f"{product.relative_to(PROJECT.parent)}  {product.stat().st_size / 1e6:.2f} MB")
