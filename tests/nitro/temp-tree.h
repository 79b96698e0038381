/*
 * A directory of small files that stands for /sys or another tree
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_NITRO_TEMP_TREE_H
#define TESTS_NITRO_TEMP_TREE_H

/**
 * temp_tree_put: write a file, and make the directories it is in
 * @top: the directory
 * @name: of the file, relative to it
 * @text: its content; NULL: remove the file
 */
void temp_tree_put(const char *top, const char *name, const char *text);

/**
 * temp_tree_remove: remove a directory and all that is below it
 */
void temp_tree_remove(const char *top);

#endif /* TESTS_NITRO_TEMP_TREE_H */
