#include "marathon/agent/tools/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "marathon/detail/sha256.h"
#include "src/agent/tools/beneath.h"
#include "src/agent/tools/tool_reply.h"

namespace marathon::inline MARATHON_ABI::agent {
namespace {

using internal::CheckPath;
using internal::ErrnoStatus;
using internal::Fd;
using internal::OpenBeneath;
using internal::Quoted;

struct ReadFile {
  std::string path;
  std::optional<uint64_t> offset;
  std::optional<uint64_t> limit;
};
MARATHON_TOOL_INPUT(ReadFile, (path, "of a file, relative to the root"),
                    (offset, "the first byte that is wanted; 0 if left out"),
                    (limit, "how many bytes; as many as may be if left out"))

struct ListFiles {
  std::optional<std::string> path;
};
MARATHON_TOOL_INPUT(ListFiles, (path, "of a folder, relative to the root; the root itself if left out"))

struct WriteFile {
  std::string path;
  std::string text;
};
MARATHON_TOOL_INPUT(WriteFile, (path, "of the file, relative to the root; its folder must be there"),
                    (text, "all that is to be in it"))

StatusOr<Fd> OpenInRoot(const std::string& root, const std::string& path, int flags) {
  if (Status status = CheckPath(path); !status.ok()) return status;
  const Fd folder(open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  // Where it is, is not the model's business.
  if (folder.get() < 0) return ErrnoStatus("the root of this tool", errno);
  return OpenBeneath(folder.get(), path, flags);
}

// ---- read_file

Status CheckIsFile(const Fd& file, const std::string& path, struct stat* facts) {
  if (fstat(file.get(), facts) != 0) return ErrnoStatus(Quoted(path), errno);
  if (S_ISDIR(facts->st_mode)) return ErrnoStatus(Quoted(path), EISDIR);
  if (S_ISLNK(facts->st_mode)) return ErrnoStatus(Quoted(path), ELOOP);
  if (!S_ISREG(facts->st_mode)) return FailedPrecondition(Quoted(path) + " is refused: it is no file");
  return {};
}

// Up to `size` bytes from `offset` on.
StatusOr<std::string> ReadPart(const Fd& file, const std::string& path, uint64_t offset, size_t size) {
  std::string bytes(size, '\0');
  size_t count = 0;
  while (count < size) {
    const ssize_t more = pread(file.get(), bytes.data() + count, size - count, static_cast<off_t>(offset + count));
    if (more < 0 && errno == EINTR) continue;
    if (more < 0) return ErrnoStatus(Quoted(path), errno);
    if (more == 0) break;
    count += static_cast<size_t>(more);
  }
  bytes.resize(count);
  return bytes;
}

StatusOr<std::string> Read(const std::string& root, const FileOptions& options, const ReadFile& input) {
  struct stat facts{};
  // What is no file is not opened: to open a device may be to do something with it, and a pipe blocks.
  const StatusOr<Fd> seen = OpenInRoot(root, input.path, O_PATH);
  if (!seen.ok()) return seen.status();
  if (Status status = CheckIsFile(*seen, input.path, &facts); !status.ok()) return status;
  const StatusOr<Fd> file = OpenInRoot(root, input.path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  if (!file.ok()) return file.status();
  if (Status status = CheckIsFile(*file, input.path, &facts); !status.ok()) return status;

  const auto size = static_cast<uint64_t>(facts.st_size);
  const uint64_t offset = input.offset.value_or(0);
  if (offset > size) {
    return OutOfRange(fmt::format("\"{}\" has {} bytes: offset {} is behind its end", input.path, size, offset));
  }
  constexpr uint64_t kCharacterMax = 4;
  const uint64_t asked = std::min<uint64_t>(input.limit.value_or(options.read_max), options.read_max);
  const uint64_t limit = std::max(kCharacterMax, asked);
  const StatusOr<std::string> bytes = ReadPart(*file, input.path, offset, static_cast<size_t>(limit) + 1);
  if (!bytes.ok()) return bytes.status();
  std::string_view part = *bytes;
  const bool more = part.size() > limit;
  if (more) part = internal::WithoutBrokenEnd(part.substr(0, static_cast<size_t>(limit)));
  const size_t skipped = offset == 0 ? 0 : internal::SizeOfBrokenStart(part);
  part.remove_prefix(skipped);
  if (!internal::IsUtf8(part)) {
    return FailedPrecondition(fmt::format("\"{}\" is not UTF-8 text ({} bytes), and is not shown", input.path, size));
  }
  std::string text(part);
  const uint64_t begin = offset + skipped;
  const uint64_t end = begin + part.size();
  if (more) {
    text += fmt::format("\n[bytes {} to {} of {}; go on at offset {}]", begin, end, size, end);
  } else if (offset > 0) {
    text += fmt::format("\n[bytes {} to {} of {}]", begin, end, size);
  }
  return text;
}

// ---- list_files

// "notes/", "todo.txt 120 bytes", "elsewhere (a link)".
std::string LineOf(int folder, const std::string& name) {
  struct stat facts{};
  std::string line = name;
  std::ranges::replace_if(line, [](char c) { return static_cast<uint8_t>(c) < 0x20; }, '?');  // one line a name
  if (fstatat(folder, name.c_str(), &facts, AT_SYMLINK_NOFOLLOW) != 0) return line + " (gone)";
  if (S_ISDIR(facts.st_mode)) return line + "/";
  if (S_ISREG(facts.st_mode)) return fmt::format("{} {} bytes", line, facts.st_size);
  return line + (S_ISLNK(facts.st_mode) ? " (a link)" : " (no file)");
}

StatusOr<std::string> List(const std::string& root, const FileOptions& options, const ListFiles& input) {
  const std::string path = input.path && !input.path->empty() ? *input.path : ".";
  StatusOr<Fd> opened = OpenInRoot(root, path, O_RDONLY | O_DIRECTORY | O_NONBLOCK);
  if (!opened.ok()) return opened.status();
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(fdopendir(opened->get()), closedir);
  if (!folder) return ErrnoStatus(Quoted(path), errno);
  const int fd = opened->release();  // the folder's by now
  std::set<std::string> names;  // the first ones
  size_t count = 0;
  errno = 0;
  while (const dirent* entry = readdir(folder.get())) {
    const std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    names.emplace(name);
    ++count;
    if (names.size() > options.list_max) names.erase(std::prev(names.end()));
  }
  if (errno != 0) return ErrnoStatus(Quoted(path), errno);
  if (count == 0) return std::string("[nothing is in it]");
  std::string text;
  for (const std::string& name : names) text += LineOf(fd, name) + "\n";
  if (count > names.size()) text += fmt::format("[and {} more]\n", count - names.size());
  text.pop_back();
  return text;
}

// ---- write_file

Status WriteAll(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = write(fd, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return ErrnoStatus("the new file", errno);
    text.remove_prefix(static_cast<size_t>(count));
  }
  return {};
}

// Under a name of its own, which is on the disk when this returns.
Status WriteBeside(int folder, const std::string& beside, const std::string& text, const struct stat* replaced) {
  const Fd file(openat(folder, beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666));
  if (file.get() < 0) return ErrnoStatus("the new file", errno);
  if (Status status = WriteAll(file.get(), text); !status.ok()) return status;
  const bool as_it_was = replaced == nullptr || fchmod(file.get(), replaced->st_mode & 0777) == 0;
  return as_it_was && fsync(file.get()) == 0 ? Status() : ErrnoStatus("the new file", errno);
}

StatusOr<std::string> Write(const std::string& root, const FileOptions& options, ToolContext& ctx,
                            const WriteFile& input) {
  if (input.text.size() > options.write_max) {
    return InvalidArgument(
        fmt::format("{} bytes are too many: this tool writes up to {}", input.text.size(), options.write_max));
  }
  const size_t slash = input.path.rfind('/');
  const std::string name = slash == input.path.npos ? input.path : input.path.substr(slash + 1);
  if (Status status = CheckPath(input.path); !status.ok()) return status;
  if (name.empty() || name == ".") return InvalidArgument(Quoted(input.path) + " is no name of a file");
  const std::string parent = slash == input.path.npos ? "." : input.path.substr(0, slash);
  const StatusOr<Fd> folder = OpenInRoot(root, parent, O_RDONLY | O_DIRECTORY | O_NONBLOCK);
  if (!folder.ok()) return folder.status();

  struct stat facts{};
  const bool replaces = fstatat(folder->get(), name.c_str(), &facts, AT_SYMLINK_NOFOLLOW) == 0;
  if (!replaces && errno != ENOENT) return ErrnoStatus(Quoted(input.path), errno);
  if (replaces && !S_ISREG(facts.st_mode)) {
    return FailedPrecondition(Quoted(input.path) + " is refused: what is there is no file, and is not replaced");
  }
  // Each delivery has a name of its own, since an earlier one may be at work yet; what died with it is cleared away.
  const std::string call = ".marathon-" + marathon::detail::Sha256Hex(ctx.idempotency_key()).substr(0, 32) + "-";
  const Epoch epoch = ctx.activity().info().epoch;
  constexpr Epoch kRemembered = 16;
  for (Epoch old = std::max<Epoch>(1, epoch - kRemembered); old <= epoch; ++old) {
    unlinkat(folder->get(), (call + std::to_string(old)).c_str(), 0);
  }
  const std::string beside = call + std::to_string(epoch);
  Status status = WriteBeside(folder->get(), beside, input.text, replaces ? &facts : nullptr);
  if (status.ok() && renameat(folder->get(), beside.c_str(), folder->get(), name.c_str()) != 0) {
    status = ErrnoStatus(Quoted(input.path), errno);
  }
  if (!status.ok()) {
    unlinkat(folder->get(), beside.c_str(), 0);
    return status;
  }
  if (fsync(folder->get()) != 0) return ErrnoStatus(Quoted(input.path), errno);
  return fmt::format("wrote {} bytes", input.text.size());
}

Tool WithRoot(Tool tool, const std::string& root) {
  if (root.empty()) tool.mistake = "the tool \"" + tool.definition.name + "\" needs a root";
  return tool;
}

}  // namespace

Tool ReadFileTool(std::string root, FileOptions options) {
  constexpr size_t kNotes = 1'024;
  const auto read = [root, options](const ReadFile& input) { return internal::AnswerOf(Read(root, options, input)); };
  Tool tool = MakeTool("read_file", "Reads a text file.", read,
                       {.effect = Effect::kPure, .result_max = options.read_max + kNotes});
  return WithRoot(std::move(tool), root);
}

Tool ListFilesTool(std::string root, FileOptions options) {
  constexpr size_t kLineMax = 300;
  const auto list = [root, options](const ListFiles& input) { return internal::AnswerOf(List(root, options, input)); };
  Tool tool = MakeTool("list_files", "Lists the files and folders of a folder.", list,
                       {.effect = Effect::kPure, .result_max = (options.list_max + 1) * kLineMax});
  return WithRoot(std::move(tool), root);
}

Tool WriteFileTool(std::string root, FileOptions options) {
  const auto write = [root, options](ToolContext& ctx, const WriteFile& input) {
    return internal::AnswerOf(Write(root, options, ctx, input));
  };
  Tool tool = MakeTool("write_file", "Makes a text file, or replaces all that is in one.", write,
                       {.effect = Effect::kIdempotent});
  return WithRoot(std::move(tool), root);
}

}  // namespace marathon::inline MARATHON_ABI::agent
