/*
 * Container images: from a name to a tree of files and a configuration
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Reads OCI layouts (directory or tar) and archives of "docker save" (tar);
 * has skopeo bring everything else.  Sources: OCI image specification
 * (image-layout.md, image-index.md, manifest.md, config.md), version 1.1.
 */

#ifndef TOOLS_EIF_CONTAINER_H
#define TOOLS_EIF_CONTAINER_H

#include "hw/core/eif-image.h"
#include "qobject/qdict.h"
#include "file-tree.h"

typedef struct Container {
    FileTree *tree;
    char *digest;           /* "sha256:...", of the configuration */
    char *created;          /* RFC 3339 time, or NULL */
    QDict *image;           /* all that the configuration says */
    /* What a runtime does; lists end with NULL, texts may be NULL */
    char **command;         /* entrypoint and arguments, joined */
    char **entrypoint;      /* the first part of it */
    char **environment;
    char *directory;
    char *user;
    char *stop_signal;
} Container;

/**
 * container_read: read a container image
 * @source: directory with an OCI layout, tar archive with one or of "docker
 *          save", each with ":TAG" behind it if it has several images and
 *          "oci:", "oci-archive:" or "docker-archive:" in front if wanted;
 *          or a name for skopeo such as "docker://..."
 * @arch: which of several platforms to take
 * @limits: how much the files may have
 * @scratch: directory for the unnamed file of contents
 * @errp: filled in on failure: what is missing, damaged, or not allowed
 *
 * All digests are compared.  Blocks as long as reading does.
 *
 * Returns: the image, to be freed, or NULL.
 */
Container *container_read(const char *source, EifArch arch,
                          const FileTreeLimits *limits, const char *scratch,
                          Error **errp);
void container_free(Container *c);

/**
 * container_has_command: is there something to run?
 * @c: the image
 * @command: words that replace the arguments of the image, or NULL
 * @errp: filled in when neither has a word
 */
bool container_has_command(const Container *c, char **command, Error **errp);

/**
 * container_path: where a container image lies
 * @source: as for container_read()
 *
 * Returns: the name of the directory or archive, to be freed; NULL when
 * skopeo gets the image.
 */
char *container_path(const char *source);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Container, container_free)

#endif
