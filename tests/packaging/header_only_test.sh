# The header-only way with no build system: README's own line compiles README's own program.
. "$(dirname "$0")/lib.sh"

cd "$work"
ln -s "$SOURCE_DIR/include" "$SOURCE_DIR/examples" .
$(grep '^g++ ' "$SOURCE_DIR/README.md")
expect_readme ./a.out
