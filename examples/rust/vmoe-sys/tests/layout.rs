//! The structs have the sizes and offsets that a C compiler gives those of vmoe.h.

use std::mem::size_of;
use std::process::Command;

use vmoe_sys::*;

/// Lines `name size` and `name.field offset` of some structs, in Rust and as a C program.
macro_rules! layout {
    ($($name:ident { $($field:ident),* })*) => {{
        let mut lines = Vec::new();
        let mut c = vec![String::from("#include <stddef.h>\n#include <stdio.h>\n\
                                       #include <vmoe.h>\nint main(void) {\n")];
        $(
            let made = std::mem::MaybeUninit::<$name>::zeroed();
            let base = made.as_ptr();
            lines.push(format!("{} {}", stringify!($name), size_of::<$name>()));
            c.push(format!("printf(\"{0} %zu\\n\", sizeof({0}));\n", stringify!($name)));
            $(
                // SAFETY: the place lies in `made`; nothing is read.
                let place = unsafe { std::ptr::addr_of!((*base).$field) } as usize;
                let name = concat!(stringify!($name), ".", stringify!($field));
                lines.push(format!("{} {}", name, place - base as usize));
                c.push(format!("printf(\"{} %zu\\n\", offsetof({}, {}));\n", name,
                               stringify!($name), stringify!($field)));
            )*
        )*
        (lines, c.concat() + "return 0; }\n")
    }};
}

#[test]
fn structs_are_those_of_the_header() {
    let (lines, c) = layout! {
        vmoe_error { status, text }
        vmoe_allocator { alloc, release, context }
        vmoe_load_options { size, flags, max_bytes, allocator, cancel }
        vmoe_preprocessing { kind, side, crop }
        vmoe_info { size, image_size, patch_size, tokens, width, heads, mlp, layers, classes, pre_logits, features, classifier, gelu, output, experts, moe_layers, moe, experts_per_token, group_images, capacity, capacity_rule, capacity_multiple, preprocessing, precision, compact, labels, parameters, weight_bytes, file_bytes, id, members, reserved }
        vmoe_class { index, probability, label }
        vmoe_options { size, experts_per_token, capacity, priority, group_images, capacity_rule, capacity_multiple, threads, precision, isa, reserved, cancel, progress, progress_context, routes, routes_length }
        vmoe_picture { kind, width, height, data, bytes, stride }
        vmoe_input { size, reserved, images, pictures, pixels, tensor, length }
        vmoe_output { size, reserved, logits, logits_length, probabilities, probabilities_length, features, features_length, top, top_length, top_count, report, member_logits, member_logits_length }
        vmoe_layer_report { layer, reserved, assigned, processed, dropped, untouched }
        vmoe_report { size, isa, precision, threads, experts_per_token, group_images, groups, capacity, assigned, processed, dropped, untouched, macs, weight_bytes, seconds, total_seconds, layers, layers_length, load, load_length, routes, routes_length, macs_saved }
        vmoe_cost { size, reserved, capacity, macs, macs_padded, macs_dense, weight_bytes, workspace_bytes, macs_saved }
        vmoe_import_options { size, precision, preset, compact, experts_per_token, capacity, capacity_rule, capacity_multiple, group_images, gelu, output, preprocessing, image_size, label_count, labels, provenance, progress, progress_context }
        vmoe_limits { size, layers, heads, experts, experts_per_token, width, mlp, classes, image_size, tokens, group_tokens, threads, capacity, file_bytes, header_bytes, tensors, label_bytes, jpeg_bytes, picture_side, picture_pixels, jpeg_scans, import_index_bytes, import_shards, members }
    };
    let folder = std::env::temp_dir().join(format!("vmoe-layout-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("layout.c"), c).unwrap();
    let built = Command::new("cc")
        .arg(concat!("-I", env!("VMOE_INCLUDE")))
        .arg(folder.join("layout.c"))
        .arg("-o")
        .arg(folder.join("layout"))
        .status()
        .expect("a C compiler");
    assert!(built.success());
    let said = Command::new(folder.join("layout")).output().unwrap().stdout;
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(lines, String::from_utf8(said).unwrap().lines().collect::<Vec<_>>());
}
