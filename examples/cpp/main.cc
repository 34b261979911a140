// Classifies texts with a file of `albert-edge convert`, and prints what `albert-edge run` prints.
//
//   albert_edge_cpp sentiment.tflite "a quiet, moving film"
//   albert_edge_cpp sentiment.tflite < lines.txt
//
// Everything is in the file: the model, which TensorFlow Lite runs, and behind it a zip archive with
// the manifest, the labels and the tokenizer.  docs/file_format.md describes both.

#include <sentencepiece_processor.h>
#include <tensorflow/lite/c/c_api.h>
#include <unicode/locid.h>
#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <limits>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using Json = nlohmann::json;

// What is wrong with a file or a text, and what to do.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// ---------------------------------------------------------------------------------------------
// The archive behind the model
// ---------------------------------------------------------------------------------------------

std::string ReadFile(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream) throw Error("cannot read " + path + ".");
  return {std::istreambuf_iterator<char>(stream), {}};
}

// Returns a little-endian number of `width` bytes at `at`.
uint32_t NumberAt(std::string_view data, size_t at, int width) {
  if (at > data.size() || data.size() - at < static_cast<size_t>(width)) {
    throw Error("the file is damaged: its archive is cut short.");
  }
  uint32_t value = 0;
  for (int i = 0; i < width; ++i) value |= uint32_t{static_cast<uint8_t>(data[at + i])} << (8 * i);
  return value;
}

std::string_view PartOf(std::string_view data, size_t at, size_t size) {
  if (at > data.size() || data.size() - at < size) {
    throw Error("the file is damaged: its archive is cut short.");
  }
  return data.substr(at, size);
}

// Returns the members of the archive by name.  It is uncompressed, so they are parts of `file`.
std::map<std::string, std::string_view> ReadArchive(std::string_view file) {
  const size_t end = file.rfind("PK\x05\x06");
  if (end == std::string_view::npos) {
    throw Error("the file has no archive: albert-edge convert did not make it.");
  }
  if (end + 22 + NumberAt(file, end + 20, 2) != file.size()) {
    throw Error("the file is damaged: its archive is cut short.");
  }
  std::map<std::string, std::string_view> members;
  size_t at = NumberAt(file, end + 16, 4);
  for (uint32_t left = NumberAt(file, end + 10, 2); left > 0; --left) {
    const uint32_t name_size = NumberAt(file, at + 28, 2);
    const uint32_t local = NumberAt(file, at + 42, 4);
    if (NumberAt(file, at + 10, 2) != 0) throw Error("the file's archive is compressed.");
    const size_t content = local + 30 + NumberAt(file, local + 26, 2) + NumberAt(file, local + 28, 2);
    members[std::string(PartOf(file, at + 46, name_size))] =
        PartOf(file, content, NumberAt(file, at + 24, 4));
    at += 46 + name_size + NumberAt(file, at + 30, 2) + NumberAt(file, at + 32, 2);
  }
  return members;
}

Json ParseJson(const std::map<std::string, std::string_view>& members, const std::string& name) {
  const auto found = members.find(name);
  if (found == members.end()) throw Error("the file has no " + name + ".");
  return Json::parse(found->second);
}

// ---------------------------------------------------------------------------------------------
// The tokenizer: the normalization and the ids of albert_edge/tokenizer/sentencepiece.py
// ---------------------------------------------------------------------------------------------

constexpr char kSpace[] = "\u2581";  // SentencePiece's mark for the space before a word

// What Python's str.isspace() calls white space.
bool IsSpace(UChar32 c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
         c == 0x202F || c == 0x205F || c == 0x3000;
}

icu::UnicodeString DecodeUtf8(std::string_view text) {
  icu::UnicodeString decoded;
  const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
  for (int32_t at = 0, size = static_cast<int32_t>(text.size()); at < size;) {
    UChar32 c;
    U8_NEXT(bytes, at, size, c);
    if (c < 0) throw Error("the text is not UTF-8.");
    decoded.append(c);
  }
  return decoded;
}

class Tokenizer {
 public:
  explicit Tokenizer(const std::map<std::string, std::string_view>& members) {
    const auto model = members.find("spiece.model");
    if (model == members.end()) {
      throw Error(
          "the file has no spiece.model; this program supports no other tokenizer: run the file "
          "with albert-edge run.");
    }
    if (!processor_.LoadFromSerializedProto({model->second.data(), model->second.size()}).ok()) {
      throw Error("the file's spiece.model is damaged.");
    }
    const Json config = ParseJson(members, "tokenizer_config.json");
    lower_case_ = config.value("do_lower_case", true);
    remove_space_ = config.value("remove_space", true);
    keep_accents_ = config.value("keep_accents", false);
    cuts_left_ = config.value("truncation_side", "right") == "left";
    model_max_length_ = config.value("model_max_length", std::numeric_limits<int>::max());
    ReadSpecialTokens(config);
  }

  // The number of tokens to which the tokenizer truncates a text, special ones included.
  int model_max_length() const { return model_max_length_; }

  // Returns `[CLS] text [SEP]`, of `most` tokens at most, and whether the text was truncated.
  std::pair<std::vector<int32_t>, bool> Encode(std::string_view text, int most) const {
    std::vector<int32_t> ids;
    for (const std::string& piece : Pieces(Normalize(text))) AppendIds(piece, &ids);
    if (ids.empty()) throw Error("the text is empty: it contains no tokens.");
    const size_t room = most - 2;
    const bool truncated = ids.size() > room;
    if (truncated && cuts_left_) ids.erase(ids.begin(), ids.end() - room);
    if (truncated) ids.resize(room);
    ids.insert(ids.begin(), cls_id_);
    ids.push_back(sep_id_);
    return {ids, truncated};
  }

 private:
  void ReadSpecialTokens(const Json& config) {
    std::set<std::string> special = {processor_.IdToPiece(processor_.unk_id())};
    const auto name_of = [&](const char* key, const char* usual) {
      const std::string name = config.value(key, usual);
      special.insert(name);
      return name;
    };
    const std::string cls = name_of("cls_token", "[CLS]"), sep = name_of("sep_token", "[SEP]");
    const std::string pad = name_of("pad_token", "<pad>"), mask = name_of("mask_token", "[MASK]");
    name_of("bos_token", "[CLS]");
    name_of("eos_token", "[SEP]");
    special.insert("[PAD]");
    const Json added = config.value("added_tokens_decoder", Json::object());
    for (const auto& [id, token] : added.items()) {
      const std::string name = token.at("content");
      if (special.count(name) == 0) {
        throw Error("the tokenizer has the added token " + name +
                    ", which this program does not support: run the file with albert-edge run.");
      }
      added_[name] = std::stoi(id);
    }
    cls_id_ = IdOfName(cls);
    sep_id_ = IdOfName(sep);
    const int pad_id = IdOfName(pad);
    hidden_ = {cls_id_, sep_id_, IdOfName(mask),
               pad_id == processor_.unk_id() ? IdOfName("[PAD]") : pad_id};
  }

  int IdOfName(const std::string& name) const {
    const auto found = added_.find(name);
    return found != added_.end() ? found->second : processor_.PieceToId(name);
  }

  // Folds white space, replaces doubled ` and ' by ", decomposes (NFKD), removes combining marks,
  // and converts to lower case, as google-research/albert does before SentencePiece.
  std::string Normalize(std::string_view text) const {
    const icu::UnicodeString source = DecodeUtf8(text);
    icu::UnicodeString normal;
    for (int32_t at = 0, next; at < source.length(); at = next) {
      const UChar32 c = source.char32At(at);
      next = source.moveIndex32(at, 1);
      if (remove_space_ && IsSpace(c)) {
        while (next < source.length() && IsSpace(source.char32At(next))) {
          next = source.moveIndex32(next, 1);
        }
        if (at > 0 && next < source.length()) normal.append(u' ');
      } else if ((c == '`' || c == '\'') && next < source.length() && source.charAt(next) == c) {
        normal.append(u'"');
        ++next;
      } else {
        normal.append(Fold(c));
      }
    }
    if (lower_case_) normal.toLower(icu::Locale::getRoot());
    std::string utf8;
    normal.toUTF8String(utf8);
    return utf8;
  }

  icu::UnicodeString Fold(UChar32 c) const {
    icu::UnicodeString folded(c);
    if (lower_case_) folded.toLower(icu::Locale::getRoot());
    if (keep_accents_) return folded;
    UErrorCode status = U_ZERO_ERROR;
    folded = icu::Normalizer2::getNFKDInstance(status)->normalize(folded, status);
    if (U_FAILURE(status)) throw Error("ICU cannot normalize the text.");
    icu::UnicodeString kept;
    for (int32_t at = 0; at < folded.length(); at = folded.moveIndex32(at, 1)) {
      const UChar32 part = folded.char32At(at);
      if (u_getCombiningClass(part) == 0) kept.append(part);
    }
    return kept;
  }

  std::vector<std::string> Pieces(const std::string& normal) const {
    std::vector<std::string> pieces;
    if (!processor_.Encode(normal, &pieces).ok()) throw Error("SentencePiece rejects the text.");
    return pieces;
  }

  // Appends the ids of a piece.  One such as `9,` becomes those of `9` and of `,`, as in the
  // original tokenizer.
  void AppendIds(const std::string& piece, std::vector<int32_t>* ids) const {
    const icu::UnicodeString text = icu::UnicodeString::fromUTF8(piece);
    const int32_t comma = text.length() - 1;
    if (comma < 1 || text.charAt(comma) != ',' || !IsDigit(text.char32At(comma - 1))) {
      ids->push_back(IdOfPiece(piece));
      return;
    }
    icu::UnicodeString number(text, 0, comma);
    const bool begins_word = text.charAt(0) == u'\u2581';
    number.findAndReplace(icu::UnicodeString(u'\u2581'), icu::UnicodeString());
    std::string digits;
    std::vector<std::string> parts = Pieces(number.toUTF8String(digits));
    if (!begins_word && !parts.empty() && parts[0].rfind(kSpace, 0) == 0) {
      parts[0].erase(0, std::strlen(kSpace));
      if (parts[0].empty()) parts.erase(parts.begin());
    }
    for (const std::string& part : parts) ids->push_back(IdOfPiece(part));
    ids->push_back(IdOfPiece(","));
  }

  static bool IsDigit(UChar32 c) {
    const int32_t type = u_getIntPropertyValue(c, UCHAR_NUMERIC_TYPE);
    return type == U_NT_DECIMAL || type == U_NT_DIGIT;
  }

  // The name of a special token in a text is text: it is unknown.
  int32_t IdOfPiece(const std::string& piece) const {
    const int id = IdOfName(piece);
    const bool control = id < processor_.GetPieceSize() && processor_.IsControl(id);
    const bool special = hidden_.count(id) > 0 || (control && added_.count(piece) == 0);
    return special ? processor_.unk_id() : id;
  }

  sentencepiece::SentencePieceProcessor processor_;
  std::map<std::string, int> added_;  // ids that are not those of the vocabulary
  std::set<int> hidden_;
  bool lower_case_, remove_space_, keep_accents_, cuts_left_;
  int cls_id_ = 0, sep_id_ = 0, model_max_length_ = 0;
};

// ---------------------------------------------------------------------------------------------
// The model
// ---------------------------------------------------------------------------------------------

template <typename T, void (*Delete)(T*)>
struct Deleter {
  void operator()(T* pointer) const { Delete(pointer); }
};
template <typename T, void (*Delete)(T*)>
using Owned = std::unique_ptr<T, Deleter<T, Delete>>;

void Check(TfLiteStatus status, const char* what) {
  if (status != kTfLiteOk) throw Error(std::string("TensorFlow Lite failed: ") + what + ".");
}

class Classifier {
 public:
  explicit Classifier(const std::string& path)
      : file_(ReadFile(path)), members_(ReadArchive(file_)) {
    manifest_ = ParseJson(members_, "albert_edge.json");
    const Json config = ParseJson(members_, "config.json");
    CheckSupported(path);
    std::istringstream labels{std::string(members_.at("labels.txt"))};
    for (std::string label; std::getline(labels, label);) labels_.push_back(label);
    problem_type_ = config.value("problem_type", labels_.size() == 1 ? "regression" : "");
    pad_id_ = config.value("pad_token_id", 0);
    max_tokens_ = config.at("max_position_embeddings");
    for (const int length : manifest_.value("seq_lens", Json::array())) max_tokens_ = length;
    tokenizer_ = std::make_unique<Tokenizer>(members_);
    max_tokens_ = std::min(max_tokens_, tokenizer_->model_max_length());
    OpenInterpreter();
  }

  // Returns the line that `albert-edge run` prints.
  std::string Run(std::string_view text) {
    const auto [ids, truncated] = tokenizer_->Encode(text, max_tokens_);
    std::string line = Describe(Infer(ids));
    if (truncated) line += "  (the text was truncated)";
    return line;
  }

 private:
  using Runner = Owned<TfLiteSignatureRunner, TfLiteSignatureRunnerDelete>;

  void CheckSupported(const std::string& path) const {
    if (const int version = manifest_.at("format_version"); version > 2) {
      throw Error(path + " has format " + std::to_string(version) +
                  "; this program reads formats up to 2.");
    }
    if (const std::string task = manifest_.at("task"); task != "classification") {
      throw Error(path + " is for " + task +
                  "; this program only classifies: run the file with albert-edge run.");
    }
    if (const std::string layout = manifest_.at("layout"); layout == "split") {
      throw Error(path + " has layout split, which this program does not run: convert the "
                         "checkpoint with --layout loop.");
    }
    if (members_.count("labels.txt") == 0) throw Error(path + " has no labels.txt.");
  }

  void OpenInterpreter() {
    model_.reset(TfLiteModelCreate(file_.data(), file_.size()));
    if (!model_) throw Error("TensorFlow Lite cannot read the model.");
    Owned<TfLiteInterpreterOptions, TfLiteInterpreterOptionsDelete> options(
        TfLiteInterpreterOptionsCreate());
    TfLiteInterpreterOptionsSetNumThreads(options.get(), 1);
    interpreter_.reset(TfLiteInterpreterCreate(model_.get(), options.get()));
    if (!interpreter_) {
      throw Error("this TensorFlow Lite, " + std::string(TfLiteVersion()) +
                  ", does not run the file: convert it with --compat.");
    }
  }

  // Returns the signature that holds `count` tokens, and the number of tokens that it takes.
  std::pair<std::string, int> SignatureFor(int count) const {
    const std::vector<int> lengths = manifest_.value("seq_lens", std::vector<int>());
    for (const int length : lengths) {
      if (length < count) continue;
      const bool only = lengths.size() == 1;
      return {only ? "serving_default" : "serving_" + std::to_string(length), length};
    }
    return {"serving_default", count};
  }

  std::vector<float> Infer(std::vector<int32_t> ids) {
    const int count = static_cast<int>(ids.size());
    const auto [signature, length] = SignatureFor(count);
    Runner runner(TfLiteInterpreterGetSignatureRunner(interpreter_.get(), signature.c_str()));
    if (!runner) throw Error("the file has no signature " + signature + ".");
    std::vector<int32_t> mask(length, 0);
    std::fill_n(mask.begin(), count, 1);
    ids.resize(length, pad_id_);
    const bool fixed = !manifest_.value("seq_lens", Json::array()).empty();
    if (!fixed) {
      for (const char* name : {"input_ids", "token_type_ids"}) {
        const int shape[] = {1, length};
        Check(TfLiteSignatureRunnerResizeInputTensor(runner.get(), name, shape, 2), "resize");
      }
    }
    Check(TfLiteSignatureRunnerAllocateTensors(runner.get()), "allocate tensors");
    Write(runner.get(), "input_ids", ids);
    Write(runner.get(), "token_type_ids", std::vector<int32_t>(length, 0));
    if (fixed) Write(runner.get(), "attention_mask", mask);
    const bool exits = WriteExitRule(runner.get());
    Check(TfLiteSignatureRunnerInvoke(runner.get()), "invoke");
    layers_used_ = exits ? Read<int32_t>(runner.get(), "layers_used")[0] : 0;
    return Read<float>(runner.get(), "logits");
  }

  // Writes the file's own rule of early exit, if it exits early.
  bool WriteExitRule(TfLiteSignatureRunner* runner) const {
    const auto rule = manifest_.find("early_exit");
    if (rule == manifest_.end() || rule->is_null()) return false;
    const Json& most = rule->at("max_layers");
    const int32_t max_layers = most.is_null() ? std::numeric_limits<int32_t>::max() : most.get<int>();
    Write(runner, "patience", std::vector<int32_t>{rule->at("patience")});
    Write(runner, "threshold", std::vector<float>{rule->at("threshold")});
    Write(runner, "max_layers", std::vector<int32_t>{max_layers});
    return true;
  }

  template <typename T>
  static void Write(TfLiteSignatureRunner* runner, const char* name, const std::vector<T>& values) {
    TfLiteTensor* tensor = TfLiteSignatureRunnerGetInputTensor(runner, name);
    if (tensor == nullptr) throw Error(std::string("the signature has no input ") + name + ".");
    Check(TfLiteTensorCopyFromBuffer(tensor, values.data(), values.size() * sizeof(T)), name);
  }

  template <typename T>
  static std::vector<T> Read(const TfLiteSignatureRunner* runner, const char* name) {
    const TfLiteTensor* tensor = TfLiteSignatureRunnerGetOutputTensor(runner, name);
    if (tensor == nullptr) throw Error(std::string("the signature has no output ") + name + ".");
    std::vector<T> values(TfLiteTensorByteSize(tensor) / sizeof(T));
    Check(TfLiteTensorCopyToBuffer(tensor, values.data(), values.size() * sizeof(T)), name);
    return values;
  }

  std::string Describe(const std::vector<float>& logits) const {
    std::string line;
    if (problem_type_ == "regression") {
      line = DescribeValues(logits);
    } else if (problem_type_ == "multi_label_classification") {
      line = DescribeLabels(logits);
    } else {
      line = DescribeLabel(logits);
    }
    if (layers_used_ > 0) {
      line += "  after " + std::to_string(layers_used_) + (layers_used_ == 1 ? " layer" : " layers");
    }
    return line;
  }

  std::string DescribeValues(const std::vector<float>& logits) const {
    if (logits.size() == 1) return Format("%.4f", logits[0]);
    std::string line;
    for (size_t i = 0; i < logits.size(); ++i) {
      line += (i > 0 ? "  " : "") + labels_[i] + " " + Format("%.4f", logits[i]);
    }
    return line;
  }

  // The labels of a probability of at least a half, the most probable first.
  std::string DescribeLabels(const std::vector<float>& logits) const {
    std::vector<size_t> ranked;
    for (size_t i = 0; i < logits.size(); ++i) {
      if (Logistic(logits[i]) >= 0.5) ranked.push_back(i);
    }
    std::stable_sort(ranked.begin(), ranked.end(),
                     [&](size_t a, size_t b) { return logits[a] > logits[b]; });
    std::string line;
    for (const size_t i : ranked) {
      line += (line.empty() ? "" : "  ") + labels_[i] + " " + Format("%.3f", Logistic(logits[i]));
    }
    return line.empty() ? "(no label)" : line;
  }

  std::string DescribeLabel(const std::vector<float>& logits) const {
    if (logits.size() == 1) return labels_[0] + "  " + Format("%.3f", Logistic(logits[0]));
    const size_t best = std::max_element(logits.begin(), logits.end()) - logits.begin();
    double sum = 0;
    for (const float logit : logits) sum += std::exp(double{logit} - logits[best]);
    return labels_[best] + "  " + Format("%.3f", 1 / sum);
  }

  static double Logistic(double x) { return 0.5 + 0.5 * std::tanh(0.5 * x); }

  static std::string Format(const char* format, double value) {
    char text[64];
    std::snprintf(text, sizeof(text), format, value);
    return text;
  }

  const std::string file_;  // the model's weights stay in it
  const std::map<std::string, std::string_view> members_;
  Json manifest_;
  std::vector<std::string> labels_;
  std::string problem_type_;
  int pad_id_ = 0, max_tokens_ = 0;
  int32_t layers_used_ = 0;
  std::unique_ptr<Tokenizer> tokenizer_;
  Owned<TfLiteModel, TfLiteModelDelete> model_;
  Owned<TfLiteInterpreter, TfLiteInterpreterDelete> interpreter_;
};

void RunAll(Classifier* classifier, int count, char** texts) {
  for (int i = 0; i < count; ++i) std::cout << classifier->Run(texts[i]) << '\n';
  if (count > 0) return;
  std::string line;
  for (int number = 1; std::getline(std::cin, line); ++number) {
    while (!line.empty() && line.back() == '\r') line.pop_back();
    try {
      std::cout << classifier->Run(line) << '\n';
    } catch (const Error& error) {
      throw Error("line " + std::to_string(number) + ": " + error.what());
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "usage: albert_edge_cpp MODEL.tflite [TEXT...]   (without a text: every line of "
                 "standard input)\n";
    return 2;
  }
  try {
    Classifier classifier(argv[1]);
    RunAll(&classifier, argc - 2, argv + 2);
  } catch (const Error& error) {
    std::cout.flush();
    std::cerr << "Error: " << error.what() << '\n';
    return 1;
  } catch (const Json::exception& error) {
    std::cerr << "Error: the file is damaged: " << error.what() << '\n';
    return 1;
  }
}
