// Addresses that are not everybody's, and URLs as curl reads them.
// needs: agent
// program: agent
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <string>
#include <utility>
#include <vector>

#include "src/net/http_address.h"
#include "src/net/http_text.h"
#include "src/net/http_url.h"

namespace marathon::detail::http_address_test {
namespace {

std::string UseOf(const std::string& text) {
  sockaddr_storage storage{};
  if (auto* in = reinterpret_cast<sockaddr_in*>(&storage); inet_pton(AF_INET, text.c_str(), &in->sin_addr) == 1) {
    in->sin_family = AF_INET;
  } else {
    auto* in6 = reinterpret_cast<sockaddr_in6*>(&storage);
    EXPECT_EQ(inet_pton(AF_INET6, text.c_str(), &in6->sin6_addr), 1) << text;
    in6->sin6_family = AF_INET6;
  }
  return std::string(SpecialUseOf(reinterpret_cast<const sockaddr&>(storage)));
}

TEST(HttpAddressTest, EachBlockFromItsFirstToItsLast) {
  const std::vector<std::pair<const char*, const char*>> kTable = {
      {"0.0.0.0", "unspecified"},           {"0.255.255.255", "unspecified"},
      {"1.0.0.0", ""},                      {"9.255.255.255", ""},
      {"10.0.0.0", "private"},              {"10.255.255.255", "private"},
      {"11.0.0.0", ""},                     {"100.63.255.255", ""},
      {"100.64.0.0", "a carrier's own"},    {"100.127.255.255", "a carrier's own"},
      {"100.128.0.0", ""},                  {"100.100.100.200", "cloud metadata"},
      {"126.255.255.255", ""},              {"127.0.0.0", "loopback"},
      {"127.0.0.1", "loopback"},            {"127.255.255.255", "loopback"},
      {"128.0.0.0", ""},                    {"169.253.255.255", ""},
      {"169.254.0.0", "link-local"},        {"169.254.169.253", "link-local"},
      {"169.254.169.254", "cloud metadata"},  {"169.254.170.2", "cloud metadata"},
      {"169.254.255.255", "link-local"},    {"169.255.0.0", ""},
      {"168.63.129.16", "cloud metadata"},  {"168.63.129.17", ""},
      {"172.15.255.255", ""},               {"172.16.0.0", "private"},
      {"172.31.255.255", "private"},        {"172.32.0.0", ""},
      {"191.255.255.255", ""},              {"192.0.0.0", "reserved"},
      {"192.0.0.192", "cloud metadata"},    {"192.0.0.255", "reserved"},
      {"192.0.1.0", ""},                    {"192.0.2.1", "reserved"},
      {"192.0.3.0", ""},                    {"192.88.99.1", "reserved"},
      {"192.167.255.255", ""},              {"192.168.0.0", "private"},
      {"192.168.255.255", "private"},       {"192.169.0.0", ""},
      {"198.17.255.255", ""},               {"198.18.0.0", "reserved"},
      {"198.19.255.255", "reserved"},       {"198.20.0.0", ""},
      {"198.51.100.7", "reserved"},         {"203.0.113.255", "reserved"},
      {"203.0.114.0", ""},                  {"223.255.255.255", ""},
      {"224.0.0.0", "multicast"},           {"239.255.255.255", "multicast"},
      {"240.0.0.0", "reserved"},            {"255.255.255.255", "reserved"},
      {"8.8.8.8", ""},                      {"93.184.216.34", ""},
      {"::", "unspecified"},                {"::1", "loopback"},
      {"::2", "reserved"},                  {"::127.0.0.1", "reserved"},
      {"::ffff:127.0.0.1", "loopback"},     {"::ffff:10.1.2.3", "private"},
      {"::ffff:169.254.169.254", "cloud metadata"}, {"::ffff:8.8.8.8", ""},
      {"::ffff:0:127.0.0.1", "reserved"},   {"64:ff9b::127.0.0.1", "loopback"},
      {"64:ff9b::8.8.8.8", ""},             {"64:ff9b::a9fe:a9fe", "cloud metadata"},
      {"64:ff9b:1::8.8.8.8", "private"},    {"64:ff9b:2::1", "reserved"},
      {"2002:7f00:1::", "loopback"},        {"2002:c0a8:101::1", "private"},
      {"2002:808:808::1", ""},              {"2001::1", "reserved"},
      {"2001:0:7f00:1::", "reserved"},      {"2001:1ff:ffff::", "reserved"},
      {"2001:200::", ""},                   {"2001:db8::1", "reserved"},
      {"2001:db9::1", ""},                  {"2606:4700:4700::1111", ""},
      {"3ffe:ffff::1", ""},                 {"3fff:fff:ffff::1", "reserved"},
      {"3fff:1000::", ""},                  {"1fff::1", "reserved"},
      {"4000::1", "reserved"},              {"5f00::1", "reserved"},
      {"100::1", "reserved"},               {"fc00::1", "private"},
      {"fdff::1", "private"},               {"fd00:ec2::254", "cloud metadata"},
      {"fd20:ce::254", "cloud metadata"},   {"fe7f::1", "reserved"},
      {"fe80::1", "link-local"},            {"febf::1", "link-local"},
      {"fec0::1", "private"},               {"feff::1", "private"},
      {"ff02::1", "multicast"},             {"ffff::1", "multicast"},
  };
  for (const auto& [address, use] : kTable) EXPECT_EQ(UseOf(address), use) << address;
  sockaddr local{};
  local.sa_family = AF_UNIX;
  EXPECT_EQ(SpecialUseOf(local), "not of the Internet");
}

TEST(HttpUrlTest, WhereAUrlLeads) {
  const auto url = ParseHttpUrl("HTTPS://Example.COM:8443/a/../b?q=1#part");
  ASSERT_TRUE(url.ok()) << url.status();
  EXPECT_EQ(url->origin, "https://example.com:8443");
  EXPECT_EQ(url->host, "example.com");
  EXPECT_TRUE(url->tls);
  EXPECT_EQ(url->text.find('#'), std::string::npos);
  EXPECT_EQ(ParseHttpUrl("http://example.com.:80")->host, "example.com");
  EXPECT_EQ(ParseHttpUrl("http://example.com:80")->origin, "http://example.com");
  EXPECT_EQ(ParseHttpUrl("http://[::1]:81/")->host, "::1");
  EXPECT_EQ(ParseHttpUrl("http://[::1]:81/")->origin, "http://[::1]:81");
}

TEST(HttpUrlTest, WhatIsNoUrlOfOurs) {
  for (const char* text : {"", "example.com", "/a", "file:///etc/passwd", "ftp://a/", "gopher://a/", "data:text/plain,x", "http://",
                           "http://u@a/", "http://u:p@a/", "http://:p@a/", "http://a/b c", "http://a/\r\nHost: b",
                           "http://a\t/", "http://a:99999/", "javascript:1", " http://a/"}) {
    EXPECT_EQ(ParseHttpUrl(text).status().code(), StatusCode::kInvalidArgument) << text;
  }
  const auto secret = ParseHttpUrl("http://user:hunter2@a/");
  EXPECT_EQ(MessageOf(secret.status()).find("hunter2"), std::string_view::npos);
}

TEST(HttpUrlTest, ReferencesAreOfTheirBase) {
  const auto at = [base = *ParseHttpUrl("https://a.example/x/y?q")](const char* reference) {
    const auto url = ResolveHttpUrl(base, reference);
    return url.ok() ? url->text : "none";
  };
  EXPECT_EQ(at("/z"), "https://a.example/z");
  EXPECT_EQ(at("z"), "https://a.example/x/z");
  EXPECT_EQ(at("?r"), "https://a.example/x/y?r");
  EXPECT_EQ(at("//b.example/z"), "https://b.example/z");
  EXPECT_EQ(at("http://b.example/"), "http://b.example/");
  EXPECT_EQ(at("file:///etc/passwd"), "none");
  EXPECT_EQ(at("http://u:p@b.example/"), "none");
}

TEST(HttpTextTest, SecretsAreTakenOut) {
  const auto secrets = SecretsOf({"Authorization: Bearer abcdefghij", "X-Short: abc", "X-Empty:"}, "key-key-key");
  std::string text = "Bearer abcdefghij, abcdefghij, abc, key-key-key";
  Redact(secrets, &text);
  EXPECT_EQ(text, "[secret], [secret], abc, [secret]");
  for (const auto& [cut, shown] : std::vector<std::pair<std::string, std::string>>{
           {"saw key-key-k", "saw [secret]"}, {"saw Bearer abcd", "saw [secret]"}, {"saw key-", "saw [secret]"},
           {"saw key", "saw key"}, {"saw key-key-key", "saw key-[secret]"}, {"", ""}}) {
    text = cut;
    RedactEnd(secrets, &text);
    EXPECT_EQ(text, shown);
  }
}

TEST(HttpTextTest, HeadersThatMayBeSent) {
  EXPECT_TRUE(IsHeader("Name: value"));
  EXPECT_TRUE(IsHeader("Name:"));
  for (const std::string& line : {std::string("Name"), std::string(": value"), std::string("Na me: value"),
                                  std::string("Name: value\r\nHost: b"), std::string("Name: a\0b", 9)}) {
    EXPECT_FALSE(IsHeader(line)) << line;
  }
}

}  // namespace
}  // namespace marathon::detail::http_address_test
