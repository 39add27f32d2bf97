// The header in a second translation unit.
#include "other.hpp"

std::uint32_t classes_elsewhere(const vmoe::model &model)
{
    auto info = model.info();

    return info ? info->classes : 0;
}
