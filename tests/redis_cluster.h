// A Redis Cluster of a test's own: three servers on loopback, each with a third of the slots.
//
// One thread at a time.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "../src/adapters/redis/wire.h"
#include "redis_server.h"

namespace marathon::tests {

// A loopback port that nobody has now, another one each time. Below those that the system gives connections, and where
// programs that run at the same time hardly meet.
inline int FreePort() {
  constexpr int kFirst = 10'000, kPerProcess = 32, kProcesses = 700;
  static std::atomic<int> next{getpid() % kProcesses * kPerProcess};
  for (int tries = 0; tries < kProcesses * kPerProcess; ++tries) {
    const int port = kFirst + next++ % (kProcesses * kPerProcess);
    sockaddr_in name{};
    name.sin_family = AF_INET;
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    name.sin_port = htons(static_cast<uint16_t>(port));
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool is_free = bind(fd, reinterpret_cast<sockaddr*>(&name), sizeof name) == 0;
    close(fd);
    if (is_free) return port;
  }
  ADD_FAILURE() << "no port is free";
  return 0;
}

class RedisCluster {
 public:
  static constexpr size_t kServers = 3;
  static constexpr int kSlots = 16384;

  RedisCluster() {
    for (size_t i = 0; i < kServers; ++i) {
      ports_[i] = FreePort();
      buses_[i] = FreePort();
      servers_[i] = std::make_unique<RedisServer>(std::vector<std::string>{
          "--bind", "127.0.0.1", "--port", std::to_string(ports_[i]), "--cluster-enabled", "yes",
          "--cluster-port", std::to_string(buses_[i]), "--cluster-node-timeout", "10000",
          "--appendonly", "yes", "--appendfsync", "everysec"});
      const int first = static_cast<int>(i) * kSlots / static_cast<int>(kServers);
      const int last = static_cast<int>(i + 1) * kSlots / static_cast<int>(kServers) - 1;
      Call(i, {"CLUSTER", "ADDSLOTSRANGE", std::to_string(first), std::to_string(last)});
    }
    for (size_t i = 1; i < kServers; ++i) {
      Call(0,
           {"CLUSTER", "MEET", "127.0.0.1", std::to_string(ports_[i]), std::to_string(buses_[i])});
    }
    for (size_t i = 0; i < kServers; ++i) WaitUntilWhole(i);
    WaitUntilAgreed();
  }

  RedisServer& server(size_t i) { return *servers_[i]; }
  // Seeds of the cluster: all servers but the `without` first.
  std::string Url(const std::string& parameters, size_t without = 0) const {
    std::string hosts;
    for (size_t i = without; i < kServers; ++i) {
      hosts += (hosts.empty() ? "" : ",") + ("127.0.0.1:" + std::to_string(ports_[i]));
    }
    return "redis://" + hosts + "/0?" + parameters;
  }

  // The reply of one server, as text.
  std::string Call(size_t i, std::vector<std::string> words) {
    auto context = servers_[i]->Connect();
    if (context == nullptr) return "no connection";
    std::vector<const char*> argv;
    std::vector<size_t> sizes;
    for (const std::string& word : words) {
      argv.push_back(word.data());
      sizes.push_back(word.size());
    }
    const marathon::detail::RedisReply reply(static_cast<redisReply*>(
        redisCommandArgv(context.get(), static_cast<int>(argv.size()), argv.data(), sizes.data())));
    std::string text(reply.text());
    for (size_t part = 0; part < reply.size(); ++part) {
      text += std::string(reply[part].text()) + "\n";
    }
    return text;
  }

  size_t OwnerOf(int slot) const { return static_cast<size_t>(slot) * kServers / kSlots; }

  // Moves a slot with all its keys from server to server, as an administrator would.
  void Move(int slot, size_t from, size_t to) {
    BeginMove(slot, from, to);
    MoveKeys(slot, from, to);
    EndMove(slot, from, to);
  }
  // ---- The same in parts
  void BeginMove(int slot, size_t from, size_t to) {
    const std::string number = std::to_string(slot);
    EXPECT_EQ(Call(to, {"CLUSTER", "SETSLOT", number, "IMPORTING", Id(from)}), "OK");
    EXPECT_EQ(Call(from, {"CLUSTER", "SETSLOT", number, "MIGRATING", Id(to)}), "OK");
  }
  // All keys but those that begin with `staying`; empty: all.
  void MoveKeys(int slot, size_t from, size_t to, const std::string& staying = "") {
    for (;;) {
      std::vector<std::string> migrate = {"MIGRATE", "127.0.0.1", std::to_string(ports_[to]), "", "0", "5000", "KEYS"};
      const size_t head = migrate.size();
      std::istringstream keys(Call(from, {"CLUSTER", "GETKEYSINSLOT", std::to_string(slot), "1000"}));
      for (std::string key; std::getline(keys, key);) {
        if (staying.empty() || !key.starts_with(staying)) migrate.push_back(key);
      }
      if (migrate.size() == head) return;
      EXPECT_EQ(Call(from, migrate), "OK");
    }
  }
  // Then waits until all know: whoever takes a slot without knowing the newest epoch may lose it again, with its keys, to a
  // message that is on its way.
  void EndMove(int slot, size_t from, size_t to) {
    const std::string number = std::to_string(slot);
    for (const size_t server : {to, from, kServers - to - from}) {
      EXPECT_EQ(Call(server, {"CLUSTER", "SETSLOT", number, "NODE", Id(to)}), "OK");
    }
    WaitUntilAgreed();
  }

  // Until this server and the others know each other and all slots.
  void WaitUntilWhole(size_t i) {
    const std::string known = "cluster_known_nodes:" + std::to_string(kServers);
    WaitUntil([&] {
      const std::string info = Call(i, {"CLUSTER", "INFO"});
      return info.find("cluster_state:ok") != info.npos && info.find(known) != info.npos ? "" : info;
    });
  }

  // Until all say the same of who has which slots, and of the epochs, which differ.
  void WaitUntilAgreed() {
    WaitUntil([&] {
      const View view = ViewOf(0);
      std::set<std::string> epochs;
      for (const auto& [id, has] : view) epochs.insert(has.substr(0, has.find(' ')));
      bool agreed = epochs.size() == kServers;
      for (size_t i = 1; i < kServers; ++i) agreed = agreed && ViewOf(i) == view;
      return agreed ? "" : Call(0, {"CLUSTER", "NODES"});
    });
  }

 private:
  using View = std::map<std::string, std::string>;  // by a server's id: its epoch, and its slots

  // `missing`: what there is instead; empty: nothing is missing.
  template <class Missing>
  static void WaitUntil(Missing missing) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    for (;;) {
      const std::string instead = missing();
      if (instead.empty()) return;
      if (std::chrono::steady_clock::now() > deadline) {
        ADD_FAILURE() << "the cluster did not come together: " << instead;
        return;
      }
      std::this_thread::yield();
    }
  }

  // A line: id, address, flags, master, two times, epoch, link, slots; among these, in brackets, those on the move.
  View ViewOf(size_t i) {
    View view;
    std::istringstream lines(Call(i, {"CLUSTER", "NODES"}));
    for (std::string line; std::getline(lines, line);) {
      std::istringstream words(line);
      std::string id, word, epoch;
      words >> id;
      for (int skipped = 0; skipped < 5; ++skipped) words >> word;
      words >> epoch >> word;
      std::string& has = view[id] = epoch;
      while (words >> word) {
        if (!word.starts_with('[')) has += ' ' + word;
      }
    }
    return view;
  }

  std::string Id(size_t i) { return Call(i, {"CLUSTER", "MYID"}); }

  std::array<int, kServers> ports_{}, buses_{};
  std::array<std::unique_ptr<RedisServer>, kServers> servers_;
};

}  // namespace marathon::tests
