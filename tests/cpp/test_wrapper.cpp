// The C++ wrapper beside the C API: the same bits, and an error for every bad use.  Compiled with and
// without exceptions.  Arguments: MODEL PICTURE.
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "other.hpp"

#if __cplusplus >= 202002L
#include <span>
#endif

static int passed, failed;

static void check(bool good, const char *what)
{
    (good ? passed : failed)++;
    if (!good)
        std::printf("failed: %s\n", what);
}

static bool refused(const vmoe::error &error, vmoe_status status, const char *where)
{
    return error.status() == status && std::strstr(error.where(), where) != nullptr &&
           error.text()[0] != '\0';
}

static std::vector<unsigned char> read(const char *path)
{
    std::vector<unsigned char> bytes(16 << 20);
    std::FILE *file = std::fopen(path, "rb");

    bytes.resize(file != nullptr ? std::fread(bytes.data(), 1, bytes.size(), file) : 0);
    if (file != nullptr)
        std::fclose(file);
    return bytes;
}

static void classes_are_those_of_c(const vmoe::model &model, const std::vector<unsigned char> &jpeg)
{
    vmoe_options raw = VMOE_OPTIONS_INIT;
    vmoe_class expected[3];

    raw.capacity = 0.5;
    raw.capacity_rule = VMOE_CAPACITY_ROUND;
    raw.capacity_multiple = 1;
    raw.priority = VMOE_PRIORITY_BPR_MAX;
    check(vmoe_classify_jpeg(model.raw(), jpeg.data(), jpeg.size(), &raw, expected, 3, nullptr) ==
              VMOE_OK, "the C call");
    auto top = model.classify(jpeg, vmoe::options()
                                        .capacity(0.5)
                                        .capacity_rule(VMOE_CAPACITY_ROUND)
                                        .capacity_multiple(1)
                                        .priority(VMOE_PRIORITY_BPR_MAX), 3);
    check(static_cast<bool>(top) && top->size() == 3, "three classes");
    for (std::size_t i = 0; top && i < 3; i++)
        check((*top)[i].index == expected[i].index &&
                  (*top)[i].probability == expected[i].probability, "the same class");
    auto all = model.classify(jpeg, {}, 1000);
    check(all && all->size() == model.info()->classes, "all classes, if there are fewer");
    check(refused(model.classify(jpeg, {}, 0).error(), VMOE_ERR_ARGUMENT, "top"), "no class");
}

static void logits_are_those_of_c(const vmoe::model &model)
{
    auto info = model.info();
    const std::size_t values = std::size_t{ info->image_size } * info->image_size * 3;
    std::vector<float> tensor(2 * values), expected(2 * std::size_t{ info->classes });

    for (std::size_t i = 0; i < tensor.size(); i++)
        tensor[i] = static_cast<float>(i % 17) / 8.0f - 1.0f;
    check(vmoe_logits_f32(model.raw(), tensor.data(), 2, nullptr, expected.data(), nullptr) ==
              VMOE_OK, "the C call");
    vmoe::report report(*info, 2, info->experts_per_token);
    const auto logits = model.logits(tensor, 2, {}, &report);
    check(logits && *logits == expected, "the same logits");
    check(logits->size() == expected.size(), "the logits of all classes");
    std::uint64_t sum = 0;
    for (std::uint64_t load : report.load())
        sum += load;
    check(sum == report->processed && sum > 0, "the load of all experts is what was processed");
    check(report.routes().size() ==
              std::size_t{ 2 } * info->moe_layers * info->tokens * info->experts_per_token,
          "routes of every token");
    const auto of_members = model.member_logits(tensor, 2);
    check(info->members == 1 && of_members && *of_members == expected, "the logits of one member");
    vmoe::report open(*info, 2, 0);
    check(model.logits(tensor, 2, {}, &open) && open.routes().size() == report.routes().size() &&
              std::memcmp(open.routes().data(), report.routes().data(),
                          open.routes().size() * sizeof(std::int16_t)) == 0,
          "the same routes where K is left open");
    check(refused(model.logits(tensor, 3).error(), VMOE_ERR_ARGUMENT, "length"), "a short tensor");
    check(refused(model.logits(tensor, std::size_t{ 1 } << 32).error(), VMOE_ERR_ARGUMENT, "length"),
          "a tensor much too short");
    check(refused(model.logits(tensor, SIZE_MAX / 2).error(), VMOE_ERR_LIMIT, "images"),
          "more images than there can be");
    check(refused(model.logits(tensor, 2, vmoe::options().capacity(-1)).error(), VMOE_ERR_ARGUMENT,
                  "capacity"), "a negative C");
#if __cplusplus >= 202002L
    auto spanned = model.logits(std::span<const float>(tensor), 2);
    check(static_cast<bool>(spanned) && *spanned == expected, "a std::span");
#endif
}

static void handles_move(const char *path)
{
    auto loaded = vmoe::model::load(path, VMOE_LOAD_HEADER_ONLY);
    vmoe::model first = std::move(*loaded), second;

    check(first.raw() != nullptr && loaded->raw() == nullptr, "moving takes the handle");
    second = std::move(first);
    check(second.raw() != nullptr && first.raw() == nullptr, "so does assigning");
    check(refused(first.info().error(), VMOE_ERR_ARGUMENT, "model"), "an empty model has no info");
    check(refused(first.classify({}).error(), VMOE_ERR_ARGUMENT, "model"), "and no classes");
    check(!first.logits({}, 1), "and no logits");
    check(classes_elsewhere(second) == second.info()->classes, "another translation unit");
}

static void bad_files_are_refused(const char *path)
{
    std::vector<unsigned char> bytes = read(path);

    check(static_cast<bool>(vmoe::model::load(bytes)), "a model from memory");
    bytes[bytes.size() / 2] ^= 1;
    auto damaged = vmoe::model::load(bytes);
    check(!damaged && damaged.error().status() == VMOE_ERR_CHECKSUM, "a flipped bit");
    check(!vmoe::model::load(vmoe::view<const unsigned char>()), "no bytes");
    check(refused(vmoe::model::load("/nowhere.vmoe").error(), VMOE_ERR_IO, "nowhere"), "no file");
#if defined(__cpp_exceptions)
    try {
        vmoe::model::load("/nowhere.vmoe").value();
        check(false, "value() throws");
    } catch (const vmoe::failure &failure) {
        check(failure.error().status() == VMOE_ERR_IO && failure.what()[0] != '\0', "the sentence");
    }
    check(vmoe::model::load(path).value().raw() != nullptr, "value() gives");
#endif
}

static void loads_can_be_cancelled(const char *path)
{
    std::int32_t flag = 0;

    check(static_cast<bool>(vmoe::model::load(path, 0, &flag)), "a load that nobody cancels");
    flag = 1;
    check(refused(vmoe::model::load(path, 0, &flag).error(), VMOE_ERR_CANCELLED, "cancel"),
          "a file that is not wanted any more");
    check(refused(vmoe::model::load(read(path), 0, &flag).error(), VMOE_ERR_CANCELLED, "cancel"),
          "bytes that are not wanted any more");
}

int main(int count, char **arguments)
{
    if (count != 3)
        return 2;
    auto model = vmoe::model::load(arguments[1]);

    check(static_cast<bool>(model), "loading");
    if (model) {
        classes_are_those_of_c(*model, read(arguments[2]));
        logits_are_those_of_c(*model);
        handles_move(arguments[1]);
        bad_files_are_refused(arguments[1]);
        loads_can_be_cancelled(arguments[1]);
    }
    std::printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
