// What the notes of several example workflows say, and the colours of their groups.

export const ACCOUNT = `**No account?** Write *emulator* into **profile** of every paid node (among the advanced inputs): \
test images, marked as such, made on this machine, free.

**With an account**, *default* is the first profile in profiles.toml, or the one that the environment \
variables AZURE_ENDPOINT and AZURE_API_KEY make. The README says how.`;

export const AGAIN = `A second run with the same inputs buys nothing: the images come from the store. \
A new **seed** buys new ones.`;

export const GREEN = '#8a8';
export const BLUE = '#3f789e';
export const BROWN = '#b58b2a';
export const GREY = '#888';
