// The most probable classes of a picture, at full and at half capacity: classify MODEL PICTURE
//
//     c++ -std=c++17 classify.cpp $(pkg-config --cflags --libs libvmoe) -o classify
#include <cstdio>

#include "read_file.hpp"
#include "vmoe.hpp"

static int complain(const vmoe::error &error)
{
    std::fprintf(stderr, "%s: %s\n", error.where(), error.text());
    return 1;
}

int main(int count, char **arguments)
{
    if (count != 3) {
        std::fprintf(stderr, "usage: classify MODEL.vmoe PICTURE.jpg\n");
        return 2;
    }
    auto model = vmoe::model::load(arguments[1]);
    if (!model)
        return complain(model.error());

    const std::vector<unsigned char> jpeg = read_file(arguments[2]);
    for (double capacity : { 0.0, 0.5 }) {
        auto how = vmoe::options().capacity(capacity).priority(VMOE_PRIORITY_BPR_MAX).group(1);
        auto top = model->classify(jpeg, how, 3);

        if (!top)
            return complain(top.error());
        std::printf(capacity == 0.0 ? "the model's own C:\n" : "C = %.1f:\n", capacity);
        for (const vmoe_class &c : *top)
            std::printf("%12.9f %u %s\n", static_cast<double>(c.probability), c.index, c.label);
    }
    return 0;
}
