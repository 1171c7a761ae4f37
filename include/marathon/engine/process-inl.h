#pragma once

#include "marathon/engine/process.h"

#include <fmt/format.h>
#include <link.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace marathon::inline MARATHON_ABI::detail {

MARATHON_INLINE std::string ExecutableBuildId() {
  std::string id;
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* out) {
        for (int i = 0; i < info->dlpi_phnum; ++i) {
          const auto& header = info->dlpi_phdr[i];
          if (header.p_type != PT_NOTE) continue;
          const char* at = reinterpret_cast<const char*>(info->dlpi_addr + header.p_vaddr);
          const char* const end = at + header.p_memsz;
          while (at + sizeof(ElfW(Nhdr)) <= end) {
            ElfW(Nhdr) note;
            std::memcpy(&note, at, sizeof(note));
            const char* const name = at + sizeof(note);
            const char* const data = name + ((note.n_namesz + 3) & ~3u);
            if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && data + note.n_descsz <= end) {
              for (uint32_t b = 0; b < std::min(note.n_descsz, 10u); ++b) {
                *static_cast<std::string*>(out) += fmt::format("{:02x}", static_cast<uint8_t>(data[b]));
              }
              return 1;
            }
            at = data + ((note.n_descsz + 3) & ~3u);
          }
        }
        return 1;  // the first object is the executable
      },
      &id);
  return id.empty() ? kNoBuildId : id;
}

}  // namespace marathon::inline MARATHON_ABI::detail
