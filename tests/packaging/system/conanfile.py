"""What the system has installed, as the Conan packages that Marathon needs: `--name` says which. So the recipe is
tried without Conan's own registry."""
from conan import ConanFile
from conan.tools.gnu import PkgConfig

# By package: the file that CMake looks for, and the pkg-config modules with the names of their targets.
PACKAGES = {
    "abseil": ("absl", {"absl_status": "absl::status", "absl_statusor": "absl::statusor", "absl_time": "absl::time"}),
    "fmt": ("fmt", {"fmt": "fmt::fmt"}),
    "nlohmann_json": ("nlohmann_json", {"nlohmann_json": "nlohmann_json::nlohmann_json"}),
    "spdlog": ("spdlog", {"spdlog": "spdlog::spdlog"}),
    "sqlite3": ("SQLite3", {"sqlite3": "SQLite::SQLite3"}),
    "hiredis": ("hiredis", {"hiredis": "hiredis::hiredis"}),
    "openssl": ("OpenSSL", {"libssl": "OpenSSL::SSL", "libcrypto": "OpenSSL::Crypto"}),
    "libcurl": ("CURL", {"libcurl": "CURL::libcurl"}),
    "gtest": ("GTest", {"gtest": "GTest::gtest"}),
    "valijson": ("valijson", {}),  # headers alone, where the compiler looks anyway
}
# Where a component has another name than its module.
NAMES = {"libssl": "ssl", "libcrypto": "crypto", "gtest": "libgtest", "hiredis": "hiredislib"}


class System(ConanFile):
    package_type = "shared-library"

    def package_info(self):
        file, modules = PACKAGES[self.name]
        self.cpp_info.set_property("cmake_file_name", file)
        if not modules:
            self.cpp_info.set_property("cmake_target_name", "ValiJSON::valijson")
            self.cpp_info.includedirs = self.cpp_info.bindirs = self.cpp_info.libdirs = []
        for module, target in modules.items():
            component = self.cpp_info.components[NAMES.get(module, module)]
            PkgConfig(self, module).fill_cpp_info(component, is_system=True)
            component.set_property("cmake_target_name", target)
            component.bindirs = component.libdirs = []
