// The same in C++: classify MODEL.vmoe PICTURE.jpg.
#include <vmoe.h>

#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>
#include <vector>

int main(int argc, char **argv)
{
    if (argc != 3 || vmoe_version() != VMOE_VERSION_NUMBER)
        return 2;
    std::ifstream file(argv[2], std::ios::binary);
    const std::vector<char> jpeg{std::istreambuf_iterator<char>(file), {}};
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_model *loaded = nullptr;

    vmoe_load_file(argv[1], nullptr, &loaded, &error);
    const std::unique_ptr<vmoe_model, decltype(&vmoe_free)> model(loaded, vmoe_free);
    std::vector<vmoe_class> top(3);
    if (!model || vmoe_classify_jpeg(model.get(), jpeg.data(), jpeg.size(), nullptr, top.data(),
                                     top.size(), &error) != VMOE_OK) {
        std::fprintf(stderr, "%s: %s\n", error.where, error.text);
        return 1;
    }
    for (const vmoe_class &c : top)
        std::printf("\"index\": %u, \"label\": \"%s\", \"probability\": %.9g\n", c.index, c.label,
                    static_cast<double>(c.probability));
    return 0;
}
