"""Gradle's files, which cannot be run here, beside Maven's: the same values, but for a few."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from albert_edge import __version__

PROJECT = Path(__file__).parents[2] / "android_demo"
POM = "{http://maven.apache.org/POM/4.0.0}"
MODULES = ("library", "app")
# What Maven takes → what Gradle takes, which finds more: Google's repository.
LITERT = tuple(
    f"com.google.ai.edge.litert:{name}:1.4.1"
    for name in ("litert", "litert-api", "litert-gpu", "litert-gpu-api")
)
SUBSTITUTIONS = {
    "org.albertedge:tflite-classes:0.1.0": LITERT,  # TensorFlow Lite 2.16.1
    "org.albertedge:albert-edge:0.1.0": (":library",),
    "org.robolectric:android-all:15-robolectric-12650502": (),  # Gradle's compileSdk
    "org.jetbrains.kotlin:kotlin-stdlib:2.2.21": (),  # Gradle's Kotlin plugin brings it
}
SCOPES = {"provided": "compileOnly", "compile": "implementation"}
# What an app need not have: coroutines are for the callers of suspending functions.
OPTIONAL = "compileOnly"


def gradle(name: str) -> str:
    return (PROJECT / name / "build.gradle.kts").read_text()


def value(text: str, key: str) -> str:
    """Return what a line `key = value` assigns, without quotation marks."""
    (found,) = re.findall(rf'^\s*{key} = "?([\w.]+)"?$', text, re.MULTILINE)
    return found


class Pom:
    """A `pom.xml` and its parent's properties."""

    def __init__(self, name: str) -> None:
        self.root = ET.parse(PROJECT / name / "pom.xml").getroot()  # noqa: S314
        parent = ET.parse(PROJECT / "pom.xml").getroot()  # noqa: S314
        self.properties = {
            element.tag.removeprefix(POM): element.text or ""
            for root in (parent, self.root)
            for element in root.findall(f"{POM}properties/*")
        }
        self.properties["project.version"] = parent.findtext(f"{POM}version")
        self.managed = {
            dependency.findtext(f"{POM}artifactId"): self.text(dependency, "version")
            for dependency in parent.iter(f"{POM}dependency")
        }

    def text(self, element: ET.Element, name: str) -> str:
        found = element.findtext(f"{POM}{name}", "")
        return re.sub(r"\$\{([^}]+)}", lambda match: self.properties[match[1]], found)

    def dependencies(self) -> set[tuple[str, str]]:
        """Return what goes into the app or is compiled against: Gradle's scope, coordinates."""
        found = set()
        for element in self.root.findall(f"{POM}dependencies/{POM}dependency"):
            scope = self.text(element, "scope") or "compile"
            if scope == "test":
                continue
            artifact = self.text(element, "artifactId")
            version = self.text(element, "version") or self.managed[artifact]
            coordinates = f"{self.text(element, 'groupId')}:{artifact}:{version}"
            word = OPTIONAL if self.text(element, "optional") == "true" else SCOPES[scope]
            for each in SUBSTITUTIONS.get(coordinates, (coordinates,)):
                found.add((word, each))
        return found


@pytest.mark.parametrize("name", MODULES)
def test_the_dependencies_are_mavens_but_for_the_substitutions(name):
    block = gradle(name).split("\ndependencies {\n")[1]
    lines = re.findall(r'^ {4}(\w+)\((?:project\()?"([^"]+)"\)+$', block, re.MULTILINE)
    assert set(lines) == Pom(name).dependencies()


@pytest.mark.parametrize("name", MODULES)
def test_the_sdk_levels_and_the_java_version_are_mavens(name):
    text, properties = gradle(name), Pom(name).properties
    assert value(text, "minSdk") == Pom("app").properties["android.minSdk"]
    assert value(text, "compileSdk") == Pom("app").properties["android.targetSdk"]
    assert value(text, "jvmTarget") == properties["kotlin.compiler.jvmTarget"]
    assert text.count("JavaVersion.VERSION_11") == 2
    assert properties["maven.compiler.release"] == "11"


def test_the_app_is_mavens():
    text, properties = gradle("app"), Pom("app").properties
    assert value(text, "namespace") == properties["android.namespace"]
    assert value(text, "applicationId") == properties["android.namespace"]
    assert value(text, "targetSdk") == properties["android.targetSdk"]
    assert value(text, "versionCode") == properties["android.versionCode"]
    assert 'noCompress += "tflite"' in text
    assert "proguard-rules.pro" in text


def test_the_version_is_that_of_the_python_package():
    version = Pom("app").properties["project.version"]
    assert value(gradle("app"), "versionName") == version
    assert value(gradle("library"), "version") == version
    assert __version__ == version


def test_the_library_is_mavens():
    text, pom = gradle("library"), Pom("library")
    manifest = ET.parse(PROJECT / "library/src/main/AndroidManifest.xml").getroot()  # noqa: S314
    assert value(text, "namespace") == manifest.get("package", value(text, "namespace"))
    assert value(text, "group") == pom.root.findtext(f"{POM}parent/{POM}groupId")
    assert 'consumerProguardFiles("src/main/proguard.txt")' in text
    assert (PROJECT / "library/src/main/proguard.txt").exists()


@pytest.mark.parametrize("name", MODULES)
def test_the_sources_are_where_gradle_looks_for_them(name):
    pom = Pom(name)
    build = pom.root.find(f"{POM}build")
    assert pom.text(build, "sourceDirectory") == "src/main/kotlin"
    assert pom.text(build, "testSourceDirectory") == "src/test/kotlin"
    assert "sourceSets" not in gradle(name)
    assert (PROJECT / name / "src/main/AndroidManifest.xml").exists()


def test_gradle_builds_the_modules_and_takes_the_same_kotlin():
    settings = (PROJECT / "settings.gradle.kts").read_text()
    (included,) = re.findall(r"^include\((.*)\)$", settings, re.MULTILINE)
    assert included == ", ".join(f'":{name}"' for name in MODULES)
    modules = {element.text for element in ET.parse(PROJECT / "pom.xml").iter(f"{POM}module")}  # noqa: S314
    assert modules >= set(MODULES)
    plugins = (PROJECT / "build.gradle.kts").read_text()
    (kotlin,) = re.findall(r'"org.jetbrains.kotlin.android"\) version "([\d.]+)"', plugins)
    assert kotlin == Pom("library").properties["kotlin.version"]


def test_the_app_declares_what_the_library_does():
    """aapt merges no manifests: what the library's asks for stands in the app's too."""
    name = "{http://schemas.android.com/apk/res/android}name"
    ours, theirs = (
        {
            (element.tag, element.get(name))
            for element in ET.parse(PROJECT / module / "src/main/AndroidManifest.xml").iter()  # noqa: S314
            if element.tag in ("uses-native-library", "uses-permission", "uses-feature")
        }
        for module in ("app", "library")
    )
    assert ours == theirs
    assert ours == {("uses-native-library", "libOpenCL.so")}
