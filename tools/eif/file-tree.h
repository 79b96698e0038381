/*
 * A tree of files in memory: what the layers of a container image add up to
 *
 * Names, attributes and links are kept in memory, contents in one unlinked
 * file, so that neither the size of an image nor the rights of the user
 * matter: owners and devices are only numbers here.
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TOOLS_EIF_FILE_TREE_H
#define TOOLS_EIF_FILE_TREE_H

#include "qapi/error.h"

#define FILE_TREE_MAX_NAME 255      /* bytes of one component */
#define FILE_TREE_MAX_PATH 4095
#define FILE_TREE_MAX_DEPTH 512     /* components of a path */
#define FILE_TREE_MAX_XATTRS (16 * 1024 * 1024) /* bytes, of all files */

/* An extended attribute */
typedef struct TreeXattr {
    char *name;             /* with its namespace, such as "user.x" */
    GBytes *value;
} TreeXattr;

/* What a file is, apart from its names: hard links share one */
typedef struct TreeFile {
    mode_t mode;            /* type and permissions */
    uint32_t uid, gid;
    int64_t mtime;          /* s since 1970 */
    uint32_t major, minor;  /* of devices */
    char *target;           /* of a symbolic link, otherwise NULL */
    GPtrArray *xattrs;      /* of TreeXattr, in no certain order, or NULL */
    off_t offset;           /* of the content, see file_tree_content() */
    uint64_t size;          /* bytes of the content */
    unsigned links;         /* names that lead here */
    unsigned number;        /* for the writer of an archive, 0 at first */
} TreeFile;

typedef struct FileTree FileTree;

/* How much a tree may hold; more is an error, not a full disk */
typedef struct FileTreeLimits {
    uint64_t bytes;         /* of all contents, also of those replaced later */
    unsigned files;         /* names */
} FileTreeLimits;

/* tree_file_time: its time as archives have it, in 32 bits without a sign */
static inline uint32_t tree_file_time(const TreeFile *file)
{
    return MIN(MAX(file->mtime, 0), UINT32_MAX);
}

/* tree_xattrs_new: an empty list of TreeXattr, to be unreferenced */
GPtrArray *tree_xattrs_new(void);

/* tree_xattrs_add: append an attribute of @len bytes */
void tree_xattrs_add(GPtrArray *list, const char *name, const void *value,
                     size_t len);

/**
 * file_tree_scratch: make a file without a name, for contents
 * @directory: in whose file system
 * @errp: filled in on failure
 *
 * Returns: the descriptor, to be closed, or -1.
 */
int file_tree_scratch(const char *directory, Error **errp);

/**
 * file_tree_new: make an empty tree, whose root is a directory 0755 of root
 * @directory: where the file for the contents is made; it has no name there
 * @limits: how much it may hold, copied
 * @errp: filled in on failure
 *
 * Returns: the tree, or NULL.
 */
FileTree *file_tree_new(const char *directory, const FileTreeLimits *limits,
                        Error **errp);
void file_tree_free(FileTree *tree);

/**
 * file_tree_layer: begin the next layer
 *
 * What file_tree_hide() and file_tree_hide_all() hide comes from the layers
 * before it.
 */
void file_tree_layer(FileTree *tree);

/**
 * file_tree_add: add a file, or replace the one of that name
 * @path: relative to the root; "./" in front and "/" behind are ignored
 * @file: attributes and, of a regular file, content as file_tree_write() has
 *        stored it; copied, but for the list of extended attributes, which is
 *        shared.  @links and @number are ignored
 * @errp: filled in on failure: the name is absolute, has "..", is too long,
 *        leads through a link or another non-directory, or is one too many;
 *        or its extended attributes are
 *
 * A directory on a directory changes its attributes only; anything else
 * replaces what was there with all below it.  Directories that are missing
 * above it are made, 0755 and of root.
 */
bool file_tree_add(FileTree *tree, const char *path, const TreeFile *file,
                   Error **errp);

/**
 * file_tree_link: add a hard link
 * @path: as for file_tree_add()
 * @target: path of the file that it becomes another name of
 * @errp: filled in on failure; also when @target is missing or a directory
 */
bool file_tree_link(FileTree *tree, const char *path, const char *target,
                    Error **errp);

/**
 * file_tree_hide: remove a name, with all below it, as far as it comes from
 * earlier layers
 * @path: as for file_tree_add(); may be missing
 */
bool file_tree_hide(FileTree *tree, const char *path, Error **errp);

/**
 * file_tree_hide_all: the same for everything in directory @path
 */
bool file_tree_hide_all(FileTree *tree, const char *path, Error **errp);

/**
 * file_tree_write: store a part of the content of file @file
 * @file: begins with offset -1 and size 0, which the first call sets
 * @data: bytes
 * @len: how many
 * @at: where they belong in the file; what is left out reads as zeros
 * @errp: filled in on failure; also when there is more than the limit
 *
 * Contents are written one after the other: once another file was begun, the
 * earlier ones are complete.
 */
bool file_tree_write(FileTree *tree, TreeFile *file, const void *data,
                     size_t len, uint64_t at, Error **errp);

/* file_tree_extend: give @file a size, with zeros behind what was written */
bool file_tree_extend(FileTree *tree, TreeFile *file, uint64_t size,
                      Error **errp);

/* file_tree_content: descriptor of the contents; belongs to the tree */
int file_tree_content(const FileTree *tree);

/* file_tree_lookup: the file at @path, or NULL; no link is followed */
const TreeFile *file_tree_lookup(const FileTree *tree, const char *path);

/* Called for each name; @path is "" for the root, has no "/" at its ends */
typedef bool FileTreeVisit(const char *path, TreeFile *file, void *opaque,
                           Error **errp);

/**
 * file_tree_walk: visit all names, a directory before what is in it,
 * siblings by the bytes of their names
 *
 * Returns: false as soon as @visit does.
 */
bool file_tree_walk(FileTree *tree, FileTreeVisit *visit, void *opaque,
                    Error **errp);

#endif
