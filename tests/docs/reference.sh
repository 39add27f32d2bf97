#!/bin/sh
# reference.sh FOLDER: the reference of vmoe.h as HTML; a warning is an error.
#
# Comments are written for people who read the header, in plain blocks; the filter makes them doxygen's.
folder=$1
mkdir -p "$folder"
doxygen - <<CONFIG
PROJECT_NAME = libvmoe
PROJECT_NUMBER = $(cat VERSION)
PROJECT_BRIEF = "Sparse Vision Transformers (V-MoE) on CPUs"
OUTPUT_DIRECTORY = $folder
INPUT = include/vmoe.h
INPUT_FILTER = "awk -f tests/docs/comments.awk"
OPTIMIZE_OUTPUT_FOR_C = YES
EXTRACT_ALL = YES
JAVADOC_AUTOBRIEF = YES
MACRO_EXPANSION = YES
EXPAND_ONLY_PREDEF = YES
PREDEFINED = VMOE_API=
TYPEDEF_HIDES_STRUCT = YES
SORT_MEMBER_DOCS = NO
AUTOLINK_SUPPORT = YES
HAVE_DOT = NO
GENERATE_LATEX = NO
QUIET = YES
WARNINGS = YES
WARN_IF_UNDOCUMENTED = NO
WARN_AS_ERROR = FAIL_ON_WARNINGS
CONFIG
