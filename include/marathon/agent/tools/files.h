// Tools for the files below one folder, and for no others, whatever a model asks for.
//
//   agent.tools = {agent::ListFilesTool("/srv/notes"), agent::ReadFileTool("/srv/notes")};
//
// Paths are relative to the root. Those that are absolute or have "..", links that lead out of it, and what is no
// file or folder, such as a device or a pipe, are refused, and the model reads why. The kernel itself keeps each call
// inside (openat2); where it is too old for that, links are not followed at all. Hard links are not told from files:
// let nobody make any below the root who must not read what they are of.
//
// The root is opened at each call, by the worker that runs it. What a function returns may be changed before it is
// bound, its `options.approve` say. Values; the tools are safe from any thread.
#pragma once

#include <cstddef>
#include <string>

#include "marathon/agent/tool.h"
#include "marathon/config.h"

namespace marathon::inline MARATHON_ABI::agent {

struct FileOptions {
  size_t read_max = 64u << 10;   // bytes that one call reads, at most
  size_t list_max = 1'000;       // names that one call lists, at most
  size_t write_max = 1u << 20;   // bytes that one call writes, at most
};

// "read_file", kPure: it takes `path`, and `offset` and `limit` in bytes if it wants a part. It gives text only, cut
// between characters, and says where to go on.
MARATHON_EXPORT Tool ReadFileTool(std::string root, FileOptions options = {});

// "list_files", kPure: it takes `path`, of a folder, or nothing for the root. A line for each name, in order: "notes/",
// "todo.txt 120 bytes", "elsewhere (a link)".
MARATHON_EXPORT Tool ListFilesTool(std::string root, FileOptions options = {});

// "write_file", kIdempotent: it takes `path` and `text`, and makes the file or replaces it: others see the old one or
// the new one, and after a crash there is one of them. The folder must be there, and links are not written through.
MARATHON_EXPORT Tool WriteFileTool(std::string root, FileOptions options = {});

}  // namespace marathon::inline MARATHON_ABI::agent
