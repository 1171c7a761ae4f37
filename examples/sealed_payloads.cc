// Payloads that are encrypted before they leave the process, and a key that is rotated. The library brings the places;
// the cipher, here AES-256-GCM of OpenSSL, and the keys are the application's.
#include <marathon/adapters/sqlite.h>
#include <marathon/marathon.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <unistd.h>

#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>

// Stored: 12 bytes of nonce, the ciphertext, 16 bytes of tag. The workflow id is authenticated with it, so that bytes
// that somebody moves to another workflow's history are refused.
class AesCodec final : public marathon::PayloadCodec {
 public:
  // `key`: 32 bytes, from wherever your keys are kept.
  AesCodec(std::string id, std::string key) : id_(std::move(id)), key_(std::move(key)) {}
  std::string_view id() const override { return id_; }

  absl::StatusOr<std::string> Seal(std::string_view bytes, std::string_view workflow_id) override {
    std::string sealed(kNonce + bytes.size() + kTag, '\0');
    unsigned char* const out = Bytes(sealed);
    const Cipher cipher(EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_free);
    int size = 0;
    const bool done = RAND_bytes(out, kNonce) == 1 && cipher != nullptr &&
                      EVP_EncryptInit_ex(cipher.get(), EVP_aes_256_gcm(), nullptr, Bytes(key_), out) == 1 &&
                      EVP_EncryptUpdate(cipher.get(), nullptr, &size, Bytes(workflow_id), Size(workflow_id)) == 1 &&
                      EVP_EncryptUpdate(cipher.get(), out + kNonce, &size, Bytes(bytes), Size(bytes)) == 1 &&
                      EVP_EncryptFinal_ex(cipher.get(), out + kNonce + size, &size) == 1 &&
                      EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_GCM_GET_TAG, kTag, out + sealed.size() - kTag) == 1;
    if (!done) return absl::InternalError("AES-256-GCM has failed");
    return sealed;
  }

  absl::StatusOr<std::string> Open(std::string_view sealed, std::string_view workflow_id) override {
    if (sealed.size() < kNonce + kTag) return absl::DataLossError("too short for a nonce and a tag");
    std::string tag(sealed.substr(sealed.size() - kTag));
    const std::string_view text = sealed.substr(kNonce, sealed.size() - kNonce - kTag);
    std::string bytes(text.size(), '\0');
    const Cipher cipher(EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_free);
    int size = 0;
    const bool done = cipher != nullptr &&
                      EVP_DecryptInit_ex(cipher.get(), EVP_aes_256_gcm(), nullptr, Bytes(key_), Bytes(sealed)) == 1 &&
                      EVP_DecryptUpdate(cipher.get(), nullptr, &size, Bytes(workflow_id), Size(workflow_id)) == 1 &&
                      EVP_DecryptUpdate(cipher.get(), Bytes(bytes), &size, Bytes(text), Size(text)) == 1 &&
                      EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_GCM_SET_TAG, kTag, tag.data()) == 1 &&
                      EVP_DecryptFinal_ex(cipher.get(), Bytes(bytes) + size, &size) == 1;
    if (!done) return absl::DataLossError("the tag does not match");
    return bytes;
  }

 private:
  using Cipher = std::unique_ptr<EVP_CIPHER_CTX, void (*)(EVP_CIPHER_CTX*)>;
  static constexpr int kNonce = 12;
  static constexpr int kTag = 16;
  static unsigned char* Bytes(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }
  static const unsigned char* Bytes(std::string_view text) {
    return reinterpret_cast<const unsigned char*>(text.data());
  }
  static int Size(std::string_view text) { return static_cast<int>(text.size()); }

  const std::string id_;
  const std::string key_;
};

marathon::Workflow<std::string> Greet(marathon::WorkflowContext& ctx, std::string name) {
  const std::string title = co_await ctx.Receive(marathon::SignalDef<std::string>{"title"});
  co_return "Good morning, " + title + " " + name;
}

int Complain(const absl::Status& status) {
  std::cerr << status << "\n";
  return 1;
}

int main() {
  // Your keys come from a vault, and are not in the program.
  const auto old_key = std::make_shared<AesCodec>("aes-2025", std::string(32, 'o'));
  const auto new_key = std::make_shared<AesCodec>("aes-2026", std::string(32, 'n'));
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("marathon-sealed-" + std::to_string(getpid()));
  std::filesystem::create_directories(folder);
  const std::string url = "sqlite:" + (folder / "app.db").string();
  marathon::Registry registry;
  registry.Use(marathon::SqliteBackend());
  registry.Bind("Greet", Greet);
  marathon::EngineOptions options;
  options.payload_codecs = {old_key};
  {
    auto engine = marathon::Engine::Open(url, registry, options);
    if (!engine.ok()) return Complain(engine.status());
    auto run = engine->Start("Greet", std::string("Ada"), {.workflow_id = "greeting"});
    if (!run.ok()) return Complain(run.status());
  }

  // A year later: what is written has the new key, and what is there is read with the old one.
  options.payload_codecs = {new_key, old_key};
  auto engine = marathon::Engine::Open(url, registry, options);
  if (!engine.ok()) return Complain(engine.status());
  marathon::Run run = engine->Find("greeting");
  if (absl::Status status = run.Signal("title", std::string("Countess")); !status.ok()) return Complain(status);
  const auto greeting = run.Result<std::string>();
  if (!greeting.ok()) return Complain(greeting.status());
  std::cout << *greeting << "\n";

  // Who has no key sees which one it was.
  marathon::Registry nothing;
  nothing.Use(marathon::SqliteBackend());
  auto stranger = marathon::Engine::Open(url, nothing);
  if (!stranger.ok()) return Complain(stranger.status());
  const auto history = stranger->Find("greeting").History();
  if (!history.ok()) return Complain(history.status());
  for (const marathon::Event& event : *history) {
    if (const auto* started = std::get_if<marathon::WorkflowStarted>(&event.body)) {
      std::cout << "input: sealed by " << marathon::SealedBy(started->input) << "\n";
    } else if (const auto* completed = std::get_if<marathon::WorkflowCompleted>(&event.body)) {
      std::cout << "result: sealed by " << marathon::SealedBy(completed->result) << "\n";
    }
  }
  const absl::Status refused = stranger->Find("greeting").Result<std::string>().status();
  std::cout << refused.message() << "\n";
  (void)stranger->Shutdown();
  (void)engine->Shutdown();
  std::filesystem::remove_all(folder);
  return absl::IsFailedPrecondition(refused) ? 0 : 1;
}
