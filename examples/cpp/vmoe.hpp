/*
 * libvmoe for C++17 and later, in one header: handles that free themselves, views instead of pointers
 * with lengths, results instead of output arguments.  Nothing here throws of its own accord, so it
 * compiles with -fno-exceptions; with exceptions, result::value() throws what otherwise is asked for
 * with result::error().  Shapes, units and meanings are those of vmoe.h.
 */
#ifndef VMOE_HPP
#define VMOE_HPP

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <type_traits>
#include <utility>
#include <vector>
#include <vmoe.h>

#if defined(__cpp_exceptions)
#include <stdexcept>
#endif

namespace vmoe {

/* Neighbouring values that somebody else owns: from a vector, an array, std::span, or a pointer. */
template <class T> class view {
public:
    constexpr view() noexcept = default;
    constexpr view(T *data, std::size_t size) noexcept : data_(data), size_(size) {}
    template <std::size_t n> constexpr view(T (&array)[n]) noexcept : data_(array), size_(n) {}
    template <class C, class = std::enable_if_t<
                           std::is_convertible_v<decltype(std::declval<C &>().data()), T *>>>
    constexpr view(C &&container) noexcept : data_(container.data()), size_(container.size()) {}

    constexpr T *data() const noexcept { return data_; }
    constexpr std::size_t size() const noexcept { return size_; }
    constexpr T *begin() const noexcept { return data_; }
    constexpr T *end() const noexcept { return data_ + size_; }
    constexpr T &operator[](std::size_t i) const noexcept { return data_[i]; }

private:
    T *data_ = nullptr;
    std::size_t size_ = 0;
};

/* What went wrong, or that nothing did. */
class error {
public:
    vmoe_status status() const noexcept { return raw_.status; }
    const char *where() const noexcept { return raw_.where; }
    const char *text() const noexcept { return raw_.text; }
    bool failed() const noexcept { return raw_.status != VMOE_OK; }
    vmoe_error *raw() noexcept { return &raw_; }

private:
    vmoe_error raw_ = VMOE_ERROR_INIT;
};

#if defined(__cpp_exceptions)
/* An error as an exception; what() is its sentence. */
class failure : public std::runtime_error {
public:
    explicit failure(const vmoe::error &error) : std::runtime_error(error.text()), error_(error) {}
    const vmoe::error &error() const noexcept { return error_; }

private:
    vmoe::error error_;
};
#endif

/* A value, or the reason why there is none. */
template <class T> class result {
public:
    result(T value) : value_(std::move(value)) {}
    result(const vmoe::error &error) : error_(error) {}

    explicit operator bool() const noexcept { return !error_.failed(); }
    const vmoe::error &error() const noexcept { return error_; }

    /* Only of a result that is true. */
    T &operator*() noexcept { return value_; }
    const T &operator*() const noexcept { return value_; }
    T *operator->() noexcept { return &value_; }
    const T *operator->() const noexcept { return &value_; }

#if defined(__cpp_exceptions)
    /* The value, or an exception. */
    T value() &&
    {
        if (error_.failed())
            throw failure(error_);
        return std::move(value_);
    }
#endif

private:
    T value_{};
    vmoe::error error_;
};

/* The options of a call; what is not set is the model's default. */
class options {
public:
    options &capacity(double c) noexcept { return raw_.capacity = c, *this; }
    options &capacity_rule(vmoe_capacity_rule r) noexcept { return raw_.capacity_rule = r, *this; }
    options &capacity_multiple(std::uint32_t m) noexcept
    {
        return raw_.capacity_multiple = m, *this;
    }
    options &experts(std::uint32_t k) noexcept { return raw_.experts_per_token = k, *this; }
    options &priority(vmoe_priority p) noexcept { return raw_.priority = p, *this; }
    options &group(std::uint32_t images) noexcept { return raw_.group_images = images, *this; }
    options &threads(std::uint32_t n) noexcept { return raw_.threads = n, *this; }
    options &precision(vmoe_precision p) noexcept { return raw_.precision = p, *this; }
    options &isa(vmoe_isa i) noexcept { return raw_.isa = i, *this; }
    /* The flag must outlive the call; any thread ends the call by storing to it atomically. */
    options &cancel(const std::int32_t *flag) noexcept { return raw_.cancel = flag, *this; }

    vmoe_options *raw() noexcept { return &raw_; }
    const vmoe_options *raw() const noexcept { return &raw_; }

private:
    vmoe_options raw_ = VMOE_OPTIONS_INIT;
};

/* What a call did, with room for the load of every expert and the fate of every token. */
class report {
public:
    /* K is that of the call; 0, the model's default, if the call leaves it open. */
    report(const vmoe_info &info, std::size_t images, std::uint32_t k = 0)
        : layers_(info.moe_layers), load_(std::size_t{ info.moe_layers } * info.experts),
          routes_(info.moe_layers * images * info.tokens * (info.members != 0 ? info.members : 1) *
                  (k != 0 ? k : info.experts_per_token))
    {
        raw_.layers = layers_.data();
        raw_.layers_length = layers_.size();
        raw_.load = load_.data();
        raw_.load_length = load_.size();
        raw_.routes = routes_.data();
        raw_.routes_length = routes_.size();
    }
    report(const report &) = delete;
    report &operator=(const report &) = delete;

    view<const vmoe_layer_report> layers() const noexcept { return layers_; }
    view<const std::uint64_t> load() const noexcept { return load_; }    /* (moe_layers, E) */
    /* (moe_layers, images, T, members, K) */
    view<const std::int16_t> routes() const noexcept { return routes_; }
    vmoe_report *raw() noexcept { return &raw_; }
    const vmoe_report *operator->() const noexcept { return &raw_; }

private:
    std::vector<vmoe_layer_report> layers_;
    std::vector<std::uint64_t> load_;
    std::vector<std::int16_t> routes_;
    vmoe_report raw_ = VMOE_REPORT_INIT;
};

/* A loaded model: movable, and usable from any number of threads at once. */
class model {
public:
    model() noexcept = default;
    model(model &&other) noexcept : raw_(std::exchange(other.raw_, nullptr)) {}
    model &operator=(model &&other) noexcept
    {
        std::swap(raw_, other.raw_);
        return *this;
    }
    ~model() { vmoe_free(raw_); }

    /* `flags` are VMOE_LOAD_...; the load ends when `*cancel` is stored to, as calls do. */
    static result<model> load(const char *path, std::uint32_t flags = 0,
                              const std::int32_t *cancel = nullptr)
    {
        return load_with(flags, cancel, [=](auto... out) { vmoe_load_file(path, out...); });
    }

    static result<model> load(view<const unsigned char> bytes, std::uint32_t flags = 0,
                              const std::int32_t *cancel = nullptr)
    {
        return load_with(flags, cancel, [=](auto... out) {
            vmoe_load_memory(bytes.data(), bytes.size(), out...);
        });
    }

    result<vmoe_info> info() const
    {
        vmoe_info info = VMOE_INFO_INIT;
        vmoe::error error;

        vmoe_get_info(raw_, &info, error.raw());
        return finish(info, error);
    }

    /* The `count` most probable classes of a JPEG, best first; all, if there are fewer. */
    result<std::vector<vmoe_class>> classify(view<const unsigned char> jpeg,
                                             const options &how = {}, std::size_t count = 5) const
    {
        result<vmoe_info> geometry = info();
        std::vector<vmoe_class> top;
        vmoe::error error;

        if (!geometry)
            return geometry.error();
        top.resize(count < geometry->classes ? count : geometry->classes);
        vmoe_classify_jpeg(raw_, jpeg.data(), jpeg.size(), how.raw(), top.data(), top.size(),
                           error.raw());
        return finish(std::move(top), error);
    }

    /* Logits (images, classes) of a tensor (images, side, side, 3) in -1..1. */
    result<std::vector<float>> logits(view<const float> tensor, std::size_t images,
                                      const options &how = {}, vmoe::report *report = nullptr) const
    {
        return logits_of(false, tensor, images, how, report);
    }

    /* The same of every member of an ensemble: (images, members, classes). */
    result<std::vector<float>> member_logits(view<const float> tensor, std::size_t images,
                                             const options &how = {},
                                             vmoe::report *report = nullptr) const
    {
        return logits_of(true, tensor, images, how, report);
    }

    /* For what has no wrapper; owned by this object. */
    const vmoe_model *raw() const noexcept { return raw_; }

private:
    result<std::vector<float>> logits_of(bool members, view<const float> tensor, std::size_t images,
                                         const options &how, vmoe::report *report) const
    {
        vmoe_input input = VMOE_INPUT_INIT;
        vmoe_output output = VMOE_OUTPUT_INIT;
        result<vmoe_info> geometry = info();
        std::vector<float> values;
        vmoe::error error;
        std::size_t given;

        if (!geometry)
            return geometry.error();
        /* More images than there are values are refused, and no memory is taken for them. */
        given = tensor.size() / (std::size_t{ 3 } * geometry->image_size * geometry->image_size);
        values.resize((images < given ? images : given) * geometry->classes *
                      (members ? geometry->members : 1));
        input.images = images;
        input.tensor = tensor.data();
        input.length = tensor.size();
        (members ? output.member_logits : output.logits) = values.data();
        (members ? output.member_logits_length : output.logits_length) = values.size();
        output.report = report != nullptr ? report->raw() : nullptr;
        vmoe_run(raw_, &input, how.raw(), &output, error.raw());
        return finish(std::move(values), error);
    }

    template <class F>
    static result<model> load_with(std::uint32_t flags, const std::int32_t *cancel, F load)
    {
        vmoe_load_options how = VMOE_LOAD_OPTIONS_INIT;
        vmoe::error error;
        model made;

        how.flags = flags;
        how.cancel = cancel;
        load(&how, &made.raw_, error.raw());
        return finish(std::move(made), error);
    }

    template <class T> static result<T> finish(T value, const vmoe::error &error)
    {
        if (error.failed())
            return error;
        return result<T>(std::move(value));
    }

    vmoe_model *raw_ = nullptr;
};

} // namespace vmoe

#endif
