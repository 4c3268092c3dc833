// Style sheets are part of the bundle, as text.
declare module "*.css" {
  const css: string;
  export default css;
}
