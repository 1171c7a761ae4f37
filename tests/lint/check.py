"""Checks what the compiler does not: the layers of layers.txt, and words that have no place in a
file. Run from the root; prints file:line for each fault and exits 1 when there is one."""
import fnmatch
import pathlib
import re
import sys

# (what is not allowed, where, except where, why)
WORDS = [
    (r"nlohmann/json\.hpp", "include/*", "*/codec*.h */testing/* */llm/* */agent/* */http/*",
     "JSON comes in by codec.h alone: it costs each translation unit a second"),
    (r"#include [<\"](spdlog|sqlite3|hiredis|curl|httplib)", "include/*", "",
     "vendors stay in src/"),
    (r"(system|steady|high_resolution)_clock::now|std::j?thread\b(?!::id)|random_device"
     r"|sleep_(for|until)|this_thread::yield|std::async\b|\b(u|nano)sleep\(|clock_gettime"
     r"|gettimeofday", "include/* src/*", "include/marathon/runtime/thread_runtime*.h src/adapters/redis/io_loop.*"
     " src/net/*",
     "time, threads and chance come from the Runtime port, or nothing can be simulated"),
    (r"absl::(Mutex|CondVar|Notification)|absl/synchronization", "*", "",
     "Debian's Abseil is not instrumented for TSan: use std::mutex"),
    (r"sleep_(for|until)|\b(u|nano)?sleep\(", "tests/*", "tests/bench/*",
     "a test that sleeps is slow or flaky: wait for the event, or use the virtual clock"),
]
LINES_MAX = 400  # a warning: above it, look for a second concept in the file


def sources():
    for folder in ("include", "src", "tests", "examples"):
        for path in sorted(pathlib.Path(folder).rglob("*")):
            if path.suffix in (".h", ".cc"):
                yield path


def code_lines(path):
    """The lines of a file, numbered, without their // comments."""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        yield number, re.sub(r"(^|\s)//.*", "", line)


def matches(name, globs):
    """Here, unlike in layers.txt, a `*` crosses slashes."""
    return any(fnmatch.fnmatch(name, glob) for glob in globs.split())


def read_layers(path):
    files, uses = [], {}  # [(glob, layer)] in order, {layer: layers it may include}
    for line in pathlib.Path(path).read_text().splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        layer, key, *words = line.split()
        if key == "files":
            files += [(glob, layer) for glob in words]
        else:
            uses[layer] = {layer, *words}
    return files, uses


def check_layers(faults):
    files, uses = read_layers("tests/lint/layers.txt")

    def layer_of(name):
        name = name.replace("-inl.h", ".h")
        return next((layer for glob, layer in files
                     if name.count("/") == glob.count("/") and fnmatch.fnmatch(name, glob)), None)

    for path in sources():
        name = str(path).removeprefix("include/marathon/")
        if path.parts[0] not in ("include", "src"):
            continue
        layer = layer_of(name)
        if layer is None:
            faults.append(f"{path}: in no layer; add it to tests/lint/layers.txt")
            continue
        for number, line in code_lines(path):
            found = re.match(r'\s*#\s*include\s*["<](?:marathon/([^">]+)|(src/[^">]+))', line)
            if not found:
                continue
            other = found[1] or found[2]
            if layer_of(other) not in uses[layer]:
                faults.append(f"{path}:{number}: layer '{layer}' may not include {other}"
                              f" (layer '{layer_of(other)}')")


def check_words(faults):
    for path in sources():
        name = str(path)
        rules = [rule for rule in WORDS if matches(name, rule[1]) and not matches(name, rule[2])]
        for number, line in code_lines(path):
            for pattern, _, _, why in rules:
                found = re.search(pattern, line)
                if found:
                    faults.append(f"{path}:{number}: '{found[0]}': {why}")


def main():
    faults = []
    check_layers(faults)
    check_words(faults)
    for path in sources():
        count = len(path.read_text().splitlines())
        if count > LINES_MAX:
            print(f"warning: {path}: {count} lines, more than {LINES_MAX}")
    print(*faults, sep="\n")
    print(f"{len(faults)} faults")
    return 1 if faults else 0


sys.exit(main())
