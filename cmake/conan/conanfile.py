"""Conan 2 recipe, of the sources that it lies in: `conan create cmake/conan --build=missing`."""
import pathlib
import re
import shutil

from conan import ConanFile
from conan.tools.build import check_min_cppstd
from conan.tools.cmake import CMake, CMakeDeps, CMakeToolchain
from conan.tools.files import copy, rmdir

# The components that an option of the same name brings, and what each needs beside the core.
NEEDS = {
    "sqlite": ["sqlite3::sqlite3"],
    "redis": ["hiredis::hiredis", "openssl::ssl"],
    "net": ["libcurl::libcurl"],
    "sqs": ["net", "openssl::crypto"],
    "llm": ["net"],
    "agent": ["llm", "valijson::valijson"],
    "testing": ["gtest::gtest"],
}
OPTIONS = [name for name in NEEDS if name != "net"]


class Marathon(ConanFile):
    name = "marathon"
    description = "An embeddable durable workflow engine"
    license = "Apache-2.0"
    topics = ("workflow", "durable-execution", "coroutines", "event-sourcing")
    package_type = "library"
    settings = "os", "arch", "compiler", "build_type"
    options = {"shared": [True, False], "fPIC": [True, False], **dict.fromkeys(OPTIONS, [True, False])}
    default_options = {"shared": False, "fPIC": True, "sqlite": True, "redis": False, "sqs": False,
                       "llm": False, "agent": False, "testing": False}
    implements = ["auto_shared_fpic"]

    def set_version(self):
        text = (self._root / "include/marathon/version.h").read_text()
        self.version = ".".join(re.findall(r"#define MARATHON_VERSION_\w+ (\d+)", text))

    def export_sources(self):
        target = pathlib.Path(self.export_sources_folder)
        for file in ("CMakeLists.txt", "LICENSE", "README.md"):
            shutil.copy2(self._root / file, target)
        for folder in ("cmake", "include", "src"):  # by folder: copy() would walk through build/ as well
            copy(self, "*", self._root / folder, target / folder)

    def layout(self):
        self.folders.root = "../.."
        self.folders.build = "build/conan"
        self.folders.generators = "build/conan/generators"

    def requirements(self):
        # What the public headers include, and what only the library does.
        self.requires("abseil/[>=20220623.0]", transitive_headers=True, transitive_libs=True)
        self.requires("fmt/[>=9]", transitive_headers=True, transitive_libs=True)
        self.requires("nlohmann_json/[>=3.11]", transitive_headers=True)
        self.requires("spdlog/[>=1.10]")
        if self.options.sqlite:
            self.requires("sqlite3/[>=3.35]")
        if self.options.redis:
            self.requires("hiredis/[>=1.0]")
        if self.options.redis or self.options.sqs:
            self.requires("openssl/[>=3]")
        if self._has("net"):
            self.requires("libcurl/[>=7.84]")
        if self.options.agent:
            self.requires("valijson/[>=0.6]")
        if self.options.testing:
            self.requires("gtest/[>=1.12]", transitive_headers=True, transitive_libs=True)

    def validate(self):
        check_min_cppstd(self, 20)

    def generate(self):
        CMakeDeps(self).generate()
        toolchain = CMakeToolchain(self)
        toolchain.user_presets_path = False  # no file of it among the sources
        for option in OPTIONS:
            toolchain.cache_variables[f"MARATHON_{option.upper()}"] = self._has(option)
        for ours in ("TESTS", "EXAMPLES", "BENCH"):
            toolchain.cache_variables[f"MARATHON_BUILD_{ours}"] = False
        toolchain.generate()

    def build(self):
        cmake = CMake(self)
        cmake.configure()
        cmake.build()

    def package(self):
        copy(self, "LICENSE", self.source_folder, pathlib.Path(self.package_folder, "licenses"))
        CMake(self).install()
        # Conan writes these for its users, with its own packages in them.
        rmdir(self, pathlib.Path(self.package_folder, "lib/cmake"))
        rmdir(self, pathlib.Path(self.package_folder, "lib/pkgconfig"))

    def package_info(self):
        core = ["abseil::absl_status", "abseil::absl_statusor", "abseil::absl_time", "fmt::fmt",
                "nlohmann_json::nlohmann_json"]
        self._component("marathon", [*core, "spdlog::spdlog"], defines=["MARATHON_COMPILED"])
        self._component("header_only", core)
        for name, needs in NEEDS.items():
            if self._has(name):
                self._component(name, ["marathon", *needs])

    # Whether an option, or what needs it, brings a component.
    def _has(self, name):
        users = {"net": ["sqs", "llm", "agent"], "llm": ["agent"]}.get(name, [])
        return any(bool(self.options.get_safe(one)) for one in [name, *users])

    def _component(self, name, requires, defines=()):
        component = self.cpp_info.components[name]
        component.set_property("cmake_target_name", f"marathon::{name}")
        component.requires = requires
        component.defines = list(defines)
        component.libs = {"marathon": ["marathon"], "header_only": []}.get(name, [f"marathon_{name}"])
        component.system_libs = ["pthread"]

    @property
    def _root(self):
        return pathlib.Path(self.recipe_folder).parents[1]
