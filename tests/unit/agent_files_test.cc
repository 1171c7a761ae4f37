// Files below a root: what is read, listed and written, and that nothing outside ever is.
// needs: agent testing
// program: agent
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>

#include "marathon/agent/agent.h"
#include "marathon/agent/tools/files.h"
#include "marathon/detail/sha256.h"
#include "marathon/engine.h"
#include "marathon/llm/scripted_model.h"
#include "marathon/testing/activity_tester.h"
#include "src/agent/tools/beneath.h"

namespace marathon::agent::agent_files_test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::HasSubstr;

class AgentFilesTest : public ::testing::Test {
 protected:
  AgentFilesTest() {
    std::string name = (fs::temp_directory_path() / "marathon_files_XXXXXX").string();
    EXPECT_NE(mkdtemp(name.data()), nullptr);
    base_ = name;
    root_ = base_ / "root";
    fs::create_directories(root_ / "notes");
    Put(base_ / "secret.txt", "secret");
  }
  ~AgentFilesTest() override { fs::remove_all(base_); }

  static void Put(const fs::path& path, const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }
  static std::string Get(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  // As the model reads it; "error: " in front of what is one.
  static std::string Call(const Tool& tool, const json& arguments, int attempt = 1) {
    const auto run = [&tool](ActivityContext& activity, const json& input) {
      ToolContext ctx(activity, {.step = 1, .call_id = "c"});
      return tool.run(ctx, input);
    };
    const StatusOr<ToolReply> reply = testing::ActivityTester({.attempt = attempt}).Run(run, arguments);
    if (!reply.ok()) return "failed: " + std::string(MessageOf(reply.status()));
    return (reply->is_error ? "error: " : "") + reply->text;
  }
  std::string Read(const std::string& path) { return Call(ReadFileTool(root_), {{"path", path}}); }
  std::string List(const std::string& path) { return Call(ListFilesTool(root_), {{"path", path}}); }
  std::string Write(const std::string& path, const std::string& text) {
    return Call(WriteFileTool(root_), {{"path", path}, {"text", text}});
  }

  fs::path base_;
  fs::path root_;
};

TEST_F(AgentFilesTest, AFileAndPartsOfIt) {
  Put(root_ / "notes/a.txt", "0123456789");
  EXPECT_EQ(Read("notes/a.txt"), "0123456789");
  EXPECT_EQ(Read("./notes//a.txt"), "0123456789");
  Put(root_ / "empty", "");
  EXPECT_EQ(Read("empty"), "");
  const Tool read = ReadFileTool(root_, {.read_max = 6});
  const auto part = [&](json more) {
    more["path"] = "notes/a.txt";
    return Call(read, more);
  };
  EXPECT_EQ(part({}), "012345\n[bytes 0 to 6 of 10; go on at offset 6]");
  EXPECT_EQ(part({{"offset", 6}}), "6789\n[bytes 6 to 10 of 10]");
  EXPECT_EQ(part({{"offset", 2}, {"limit", 4}}), "2345\n[bytes 2 to 6 of 10; go on at offset 6]");
  EXPECT_EQ(part({{"limit", 1'000'000}}), "012345\n[bytes 0 to 6 of 10; go on at offset 6]");
  EXPECT_EQ(part({{"offset", 10}}), "\n[bytes 10 to 10 of 10]");
  EXPECT_EQ(part({{"offset", 11}}), "error: \"notes/a.txt\" has 10 bytes: offset 11 is behind its end");
  EXPECT_EQ(part({{"offset", uint64_t{1} << 63}}).substr(0, 6), "error:");
}

// Whoever goes on where it says sees each character once.
TEST_F(AgentFilesTest, PartsAreCutBetweenCharacters) {
  const std::string text = "aé€😀b€😀é";
  Put(root_ / "t", text);
  std::string whole;
  for (uint64_t offset = 0; offset < text.size();) {
    const std::string part = Call(ReadFileTool(root_), {{"path", "t"}, {"offset", offset}, {"limit", 4}});
    const size_t note = part.find("\n[bytes ");
    const std::string shown = part.substr(0, note);
    ASSERT_FALSE(shown.empty()) << part;
    whole += shown;
    offset += shown.size();
  }
  EXPECT_EQ(whole, text);
  EXPECT_EQ(Call(ReadFileTool(root_), {{"path", "t"}, {"offset", 2}}).substr(0, 3), "€") << "2 is inside of é";
}

TEST_F(AgentFilesTest, WhatIsNoText) {
  Put(root_ / "picture", "\x89PNG\xff");
  EXPECT_EQ(Read("picture"), "error: \"picture\" is not UTF-8 text (5 bytes), and is not shown");
  Put(root_ / "latin", "caf\xe9");
  EXPECT_THAT(Read("latin"), HasSubstr("not UTF-8"));
  Put(root_ / "controls", "a\tb\r\n\x01\x7f");
  EXPECT_EQ(Read("controls"), "a\tb\r\n\x01\x7f");
}

TEST_F(AgentFilesTest, NothingOutsideIsRead) {
  fs::create_symlink("../secret.txt", root_ / "out");
  fs::create_symlink(base_ / "secret.txt", root_ / "absolute");
  fs::create_symlink("..", root_ / "up");
  fs::create_symlink("/proc/self/root", root_ / "magic");
  fs::create_symlink("loop", root_ / "loop");
  for (const char* path : {"../secret.txt", "notes/../../secret.txt", "notes/..", "/etc/passwd", "", "out", "absolute",
                           "up/secret.txt", "up", "magic/etc/passwd", "loop", "/proc/self/environ"}) {
    const std::string said = Read(path);
    EXPECT_EQ(said.substr(0, 6), "error:") << path << ": " << said;
    EXPECT_EQ(said.find("root:"), said.npos) << path;
    EXPECT_EQ(said.find(base_.string()), said.npos) << "where the root is: " << said;
  }
  EXPECT_EQ(Read("out"), "error: \"out\" is refused: it leads out of the root, or through a link");
  EXPECT_EQ(Read("a/../b"), "error: \"a/../b\" is refused: \"..\" is no part of a path here");
  EXPECT_EQ(Read("/etc/passwd"), "error: \"/etc/passwd\" is refused: paths are relative to the root");
  EXPECT_EQ(Read(std::string("a\0b", 3)), "error: the path has a zero byte");
  for (const char* path : {"up", "magic", "out"}) EXPECT_THAT(List(path), HasSubstr("error:")) << path;
}

TEST_F(AgentFilesTest, WhatIsNoFileIsRefusedAtOnce) {
  ASSERT_EQ(mkfifo((root_ / "pipe").c_str(), 0600), 0);
  EXPECT_EQ(Read("pipe"), "error: \"pipe\" is refused: it is no file");
  const int socket_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  (root_ / "socket").string().copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(bind(socket_fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  EXPECT_EQ(Read("socket"), "error: \"socket\" is refused: it is no file");
  close(socket_fd);
  EXPECT_EQ(Call(ReadFileTool("/dev"), {{"path", "zero"}}), "error: \"zero\" is refused: it is no file");
  EXPECT_EQ(Read("notes"), "error: \"notes\" is a folder");
  EXPECT_EQ(Read("nothing"), "error: \"nothing\" is not there");
  EXPECT_EQ(Read("nothing/a"), "error: \"nothing/a\" is not there");
  Put(root_ / "file", "x");
  EXPECT_EQ(Read("file/a"), "error: \"file/a\": a part of it is no folder");
  EXPECT_THAT(Read(std::string(300, 'n')), HasSubstr("the name is too long"));
}

// Both ways to walk agree, but for links that stay inside.
TEST_F(AgentFilesTest, AnOldKernelIsReplacedByHand) {
  using internal::OpenBeneath;
  using internal::Walk;
  Put(root_ / "notes/a", "x");
  fs::create_symlink("notes/a", root_ / "inside");
  fs::create_symlink("notes", root_ / "folder");
  fs::create_symlink("../secret.txt", root_ / "out");
  fs::create_symlink("..", root_ / "up");
  const internal::Fd root(open(root_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  const auto code = [&](const char* path, Walk walk) {
    return OpenBeneath(root.get(), path, O_RDONLY, walk).status().code();
  };
  for (const Walk walk : {Walk::kBest, Walk::kByHand}) {
    EXPECT_EQ(code("notes/a", walk), StatusCode::kOk);
    EXPECT_EQ(code("./notes/./a", walk), StatusCode::kOk);
    EXPECT_EQ(code(".", walk), StatusCode::kOk);
    EXPECT_EQ(code("nothing", walk), StatusCode::kNotFound);
    EXPECT_NE(code("out", walk), StatusCode::kOk);
    EXPECT_NE(code("up/secret.txt", walk), StatusCode::kOk);
    EXPECT_EQ(code("notes/a/b", walk), StatusCode::kFailedPrecondition);
  }
  EXPECT_EQ(code("inside", Walk::kByHand), StatusCode::kInvalidArgument);
  EXPECT_NE(code("folder/a", Walk::kByHand), StatusCode::kOk);
  EXPECT_EQ(code("inside", Walk::kBest), StatusCode::kOk) << "this kernel has no openat2";
  EXPECT_EQ(code("folder/a", Walk::kBest), StatusCode::kOk);
}

TEST_F(AgentFilesTest, AFolderInOrder) {
  Put(root_ / "b.txt", "12345");
  Put(root_ / "a\nb", "");
  fs::create_symlink("/etc", root_ / "z");
  ASSERT_EQ(mkfifo((root_ / "pipe").c_str(), 0600), 0);
  EXPECT_EQ(List(""), "a?b 0 bytes\nb.txt 5 bytes\nnotes/\npipe (no file)\nz (a link)");
  EXPECT_EQ(Call(ListFilesTool(root_), json::object()), List("."));
  EXPECT_EQ(Call(ListFilesTool(root_, {.list_max = 2}), json::object()), "a?b 0 bytes\nb.txt 5 bytes\n[and 3 more]");
  EXPECT_EQ(List("notes"), "[nothing is in it]");
  EXPECT_EQ(List("b.txt"), "error: \"b.txt\": a part of it is no folder");
}

TEST_F(AgentFilesTest, AFileIsMadeAndReplaced) {
  EXPECT_EQ(Write("notes/new", "one"), "wrote 3 bytes");
  EXPECT_EQ(Get(root_ / "notes/new"), "one");
  ASSERT_EQ(chmod((root_ / "notes/new").c_str(), 04640), 0);
  std::ifstream before(root_ / "notes/new");
  EXPECT_EQ(Write("notes/new", "another"), "wrote 7 bytes");
  std::string old;
  before >> old;
  EXPECT_EQ(old, "one") << "whoever has it open sees all of the old one";
  EXPECT_EQ(Get(root_ / "notes/new"), "another");
  struct stat facts{};
  ASSERT_EQ(stat((root_ / "notes/new").c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 07777, 0640u);
  EXPECT_EQ(List("notes"), "new 7 bytes") << "nothing is left beside it";
  EXPECT_EQ(WriteFileTool(root_).options.effect, Effect::kIdempotent);
}

TEST_F(AgentFilesTest, NothingOutsideIsWritten) {
  fs::create_symlink("../secret.txt", root_ / "out");
  fs::create_symlink("..", root_ / "up");
  ASSERT_EQ(mkfifo((root_ / "pipe").c_str(), 0600), 0);
  for (const char* path : {"../secret.txt", "../new", "/tmp/marathon_new", "out", "up/secret.txt", "up/new", "pipe",
                           "notes", "notes/", ".", "", "nothing/a"}) {
    const std::string said = Write(path, "x");
    EXPECT_EQ(said.substr(0, 6), "error:") << path << ": " << said;
  }
  EXPECT_EQ(Get(base_ / "secret.txt"), "secret");
  EXPECT_FALSE(fs::exists(base_ / "new"));
  EXPECT_TRUE(fs::is_symlink(root_ / "out"));
  EXPECT_EQ(Call(WriteFileTool(root_, {.write_max = 2}), {{"path", "a"}, {"text", "123"}}),
            "error: 3 bytes are too many: this tool writes up to 2");
}

// What an attempt that died left behind is cleared away by the next one; that of other calls is not.
TEST_F(AgentFilesTest, TheNextDeliveryClearsUp) {
  const Tool write = WriteFileTool(root_);
  EXPECT_EQ(Call(write, {{"path", "notes/a"}, {"text", "1"}}, 1), "wrote 1 bytes");
  const std::string call = ".marathon-" + marathon::detail::Sha256Hex("test-run/1/c").substr(0, 32) + "-";
  Put(root_ / "notes" / (call + "1"), "half");
  Put(root_ / "notes" / ".marathon-other-1", "half");
  EXPECT_EQ(Call(write, {{"path", "notes/a"}, {"text", "22"}}, 2), "wrote 2 bytes");
  EXPECT_EQ(List("notes"), ".marathon-other-1 4 bytes\na 2 bytes");
}

TEST_F(AgentFilesTest, ARootThatIsNone) {
  EXPECT_EQ(Call(ReadFileTool(base_ / "nowhere"), {{"path", "a"}}), "error: the root of this tool is not there");
  Registry registry;
  Agent agent{.name = "A"};
  agent.tools = {ReadFileTool("")};
  Bind(registry, agent, std::make_shared<llm::ScriptedModel>());
  const auto engine = Engine::Open("memory:", registry);
  EXPECT_THAT(std::string(MessageOf(engine.status())), HasSubstr("\"read_file\" needs a root"));
  EXPECT_EQ(Call(ReadFileTool("/dev"), {{"path", "fd/0"}}).substr(0, 6), "error:") << "a link into /proc";
}

}  // namespace
}  // namespace marathon::agent::agent_files_test
