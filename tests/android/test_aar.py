"""The AAR: what is in it, and that a project of its own can use it."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import xml.etree.ElementTree as ET
import zipfile
from pathlib import Path

import pytest

import albert_edge
from albert_edge.files import embedded_model
from rigs.android_project import PROJECT, built
from rigs.install import SHORT_JVM, call, rigs_folder
from rigs.kotlin import KOTLIN, class_path

CONSUMER = Path(__file__).with_name("consumer")
NAMESPACE = "{http://schemas.android.com/apk/res/android}"
POM = "{http://maven.apache.org/POM/4.0.0}"


@pytest.fixture(scope="module")
def aar() -> Path:
    (path,) = KOTLIN.require().glob("*.aar")
    return path


@pytest.mark.parametrize("module", ["", "tflite", "library", "desktop"])
def test_the_version_is_the_packages(module):
    root = ET.parse(PROJECT / module / "pom.xml").getroot()  # noqa: S314 (our own)
    found = [
        e.text
        for e in (root.find(f"{POM}version"), root.find(f"{POM}parent/{POM}version"))
        if e is not None
    ]
    assert found == [albert_edge.__version__]


def test_the_readme_names_the_version():
    readme = (PROJECT / "library/README.md").read_text()
    assert readme.count(f'"org.albertedge:albert-edge:{albert_edge.__version__}"') == 1


def test_what_is_in_the_aar(aar):
    assert aar.name == f"albert-edge-{albert_edge.__version__}.aar"
    with zipfile.ZipFile(aar) as archive:
        names = {info.filename for info in archive.infolist() if not info.is_dir()}
        assert names >= {"AndroidManifest.xml", "classes.jar", "proguard.txt", "R.txt"}
        assert not [name for name in names if name.endswith(".so")]
        manifest = ET.fromstring(archive.read("AndroidManifest.xml"))  # noqa: S314 (our own)
        classes = zipfile.ZipFile(io.BytesIO(archive.read("classes.jar"))).namelist()
        assert archive.read("R.txt") == b""
        assert b"-keep class org.tensorflow.lite.**" in archive.read("proguard.txt")
    assert manifest.get("package") == "org.albertedge"
    assert manifest.find("uses-sdk").get(f"{NAMESPACE}minSdkVersion") == "23"
    (library,) = manifest.findall("application/uses-native-library")
    assert library.get(f"{NAMESPACE}name") == "libOpenCL.so"
    assert library.get(f"{NAMESPACE}required") == "false"
    assert not manifest.findall("uses-permission")
    assert "org/albertedge/Model.class" in classes
    # No runtime, no test, nothing of Android.
    assert all(name.startswith(("org/albertedge", "META-INF", "org/")) for name in classes)
    assert not [name for name in classes if "tensorflow" in name or "bench" in name]
    assert aar.stat().st_size < 600_000


def test_what_r8_leaves_has_no_internal_names():
    with zipfile.ZipFile(KOTLIN.require() / "library.jar") as archive:
        names = archive.namelist()
    assert "org/albertedge/Model.class" in names
    assert not [name for name in names if name.startswith("org/albertedge/internal/")]


def own_repository() -> Path:
    """Return the local Maven repository of whoever runs the tests."""
    (jar,) = (Path(p) for p in class_path("none").split(":") if "/kotlin-stdlib/" in p)
    return jar.parents[5]  # of org/jetbrains/kotlin/kotlin-stdlib/VERSION/


def test_a_project_of_its_own_uses_what_maven_installs(aar, tmp_path):
    repository = rigs_folder() / "consumer-m2"  # not that of whoever runs the tests
    shutil.rmtree(repository / "org/albertedge", ignore_errors=True)
    settings = tmp_path / "settings.xml"
    settings.write_text(_SETTINGS.format(cache=own_repository()))
    maven = ["mvn", "-q", "-B", "-s", settings, f"-Dmaven.repo.local={repository}"]
    with built("library"):  # of `mvn install`, what makes the AAR's coordinates
        call(*maven, "-pl", "library", f"{_INSTALL}@aar", folder=PROJECT)
    version = albert_edge.__version__
    (installed,) = repository.glob("org/albertedge/*/*/*.aar")
    assert installed.name == f"albert-edge-{version}.aar"
    assert installed.read_bytes() == aar.read_bytes()
    project = shutil.copytree(CONSUMER, tmp_path / "consumer")
    goals = ("compile", f"{_DEPENDENCY}:build-classpath", "-Dmdep.outputFile=classpath.txt")
    options = " ".join((os.environ.get("MAVEN_OPTS", ""), *SHORT_JVM))
    environment = {**os.environ, "MAVEN_OPTS": options}
    call(*maven, *goals, f"-Daar.version={version}", folder=project, environment=environment)
    jars = [j for j in (project / "classpath.txt").read_text().split(":") if j.endswith(".jar")]
    runtime = [
        p for p in class_path("desktop").split(":") if "/desktop/" in p or "android-all" in p
    ]
    answer = subprocess.run(
        [
            "java",
            *SHORT_JVM,
            "-cp",
            ":".join([str(project / "target/classes"), *jars, *runtime]),
            "Consumer",
            embedded_model() / "model.tflite",
            "a lovely film",
        ],
        capture_output=True,
        text=True,
        check=False,
        env=dict(os.environ),
    )
    assert answer.returncode == 0, answer.stderr
    label, score = answer.stdout.split()
    expected = albert_edge.load("default")("a lovely film")
    assert label == expected["label"] == "positive"
    assert abs(float(score) - expected["scores"]["positive"]) < 0.02


_INSTALL = "org.apache.maven.plugins:maven-install-plugin:3.1.3:install-file"
_DEPENDENCY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"
# What this machine's Maven has is taken from there.
_SETTINGS = """<settings><profiles><profile><id>here</id>
<repositories><repository><id>here</id><url>file:{cache}</url></repository></repositories>
<pluginRepositories><pluginRepository><id>here</id><url>file:{cache}</url></pluginRepository>
</pluginRepositories></profile></profiles>
<activeProfiles><activeProfile>here</activeProfile></activeProfiles></settings>
"""
