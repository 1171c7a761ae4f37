"""Builds README's program with the package, in both modes, and one for each component, and runs them."""
import pathlib

from conan import ConanFile
from conan.tools.build import can_run
from conan.tools.cmake import CMake, CMakeToolchain, cmake_layout


class MarathonTest(ConanFile):
    settings = "os", "arch", "compiler", "build_type"
    generators = "CMakeDeps"

    def requirements(self):
        self.requires(self.tested_reference_str)

    def layout(self):
        cmake_layout(self)

    def generate(self):
        toolchain = CMakeToolchain(self)
        toolchain.user_presets_path = False  # no file of it among the sources
        toolchain.generate()

    def build(self):
        cmake = CMake(self)
        cmake.configure()
        cmake.build()

    def test(self):
        if can_run(self):
            for program in ("compiled", "header_only", "sqlite", "redis", "sqs", "llm", "agent", "testing"):
                path = pathlib.Path(self.build_folder, program)
                if path.exists():  # a component that the package has
                    self.run(f'"{path}"', env="conanrun")
